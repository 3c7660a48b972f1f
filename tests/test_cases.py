"""A test of many cases fails for each case that fails, and names it."""

import asyncio

import pytest

from cases import check_each

CASES = [("one", 1), ("two", 2), pytest.param("three", 3, id="the third"), ("four", 4)]


def test_every_case_that_fails_is_named_and_the_others_are_checked(tmp_path):
    checked = []

    @check_each("name, number", CASES)
    def test(name, number, folder):
        checked.append((name, number, folder))
        assert number % 2 == 0, f"{name} is odd"

    with pytest.raises(ExceptionGroup) as caught:
        test(folder=tmp_path)
    assert [number for _, number, _ in checked] == [1, 2, 3, 4]
    assert {folder for *_, folder in checked} == {tmp_path}
    assert caught.value.message == "2 of 4 cases: one-1, the third"
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["This was the case one-1."],
        ["This was the case the third."],
    ]
    assert "three is odd" in str(caught.value.exceptions[1])


@pytest.mark.parametrize("leave", [pytest.fail, pytest.skip])
def test_a_case_can_neither_be_skipped_nor_end_the_test(leave):
    checked = []

    @check_each("number", range(3))
    def test(number):
        checked.append(number)
        leave("no more")

    with pytest.raises(BaseExceptionGroup, match="3 of 3 cases: 0, 1, 2"):
        test()
    assert checked == [0, 1, 2]


@check_each("number", [1, 2])
@check_each("letter", "ab")
def test_cases_multiply_and_share_the_fixtures(letter, number, request):
    assert f"{letter}{number}" in {"a1", "a2", "b1", "b2"}
    assert {"letter", "number"}.isdisjoint(request.fixturenames)


def test_without_a_case_or_a_call_to_its_end_there_is_no_test():
    with pytest.raises(ValueError, match="no case"):
        check_each("number", [])

    def test(number):
        yield

    with pytest.raises(TypeError, match="not called to its end"):
        check_each("number", [1])(test)


@pytest.fixture
async def loop_of_fixtures():
    return asyncio.get_running_loop()


@check_each("number", [1, 2])
@check_each("letter", "ab")
async def test_cases_of_a_coroutine_share_its_loop(letter, number, loop_of_fixtures):
    await asyncio.sleep(0)
    assert f"{letter}{number}" in {"a1", "a2", "b1", "b2"}
    assert asyncio.get_running_loop() is loop_of_fixtures


async def test_every_case_of_a_coroutine_that_fails_is_named():
    @check_each("number", range(3))
    async def test(number):
        await asyncio.sleep(0)
        assert number

    with pytest.raises(ExceptionGroup, match="1 of 3 cases: 0"):
        await test()
