"""Many small cases in one test: every case is checked, and each that fails is named."""

import contextlib
import functools
import inspect

import pytest

MOST_SHOWN = 10  # errors with their traceback; every case that fails is named


def check_each(names, cases):
    """Call a test with every case, which `pytest.mark.parametrize` takes as they are, in one test with its fixtures.

    For cases that change nothing that others see, and take less time than it takes to set up and report a test. Those
    of a coroutine share one loop and whatever the fixtures started on it, one after the other.
    """
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    named = [_name_case(case, len(names)) for case in cases]
    if not named:
        raise ValueError("there is no case to check")

    def decorate(test):
        if inspect.isgeneratorfunction(test) or inspect.isasyncgenfunction(test):
            raise TypeError(f"{test.__name__} is not called to its end")

        def check_now(**fixtures):
            errors = _Errors(len(named))
            for name, values in named:
                with errors.catch(name):
                    test(**fixtures, **dict(zip(names, values, strict=True)))
            errors.report()

        async def check_in_turn(**fixtures):
            errors = _Errors(len(named))
            for name, values in named:
                with errors.catch(name):
                    await test(**fixtures, **dict(zip(names, values, strict=True)))
            errors.report()

        check = functools.wraps(test)(check_in_turn if inspect.iscoroutinefunction(test) else check_now)
        # pytest asks the signature which fixtures the test uses.
        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in names]
        vars(check)["__signature__"] = signature.replace(parameters=fixtures)
        return check

    return decorate


class _Errors:
    """The errors of the cases that failed, by the names of these."""

    def __init__(self, cases):
        self._cases = cases
        self._errors = {}

    @contextlib.contextmanager
    def catch(self, name):
        try:
            yield
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - raised in `report`
            error.add_note(f"This was the case {name}.")
            self._errors[name] = error

    def report(self):
        if self._errors:
            summary = f"{len(self._errors)} of {self._cases} cases: {', '.join(self._errors)}"
            raise BaseExceptionGroup(summary, [*self._errors.values()][:MOST_SHOWN])


def _name_case(case, size):
    values = case.values if isinstance(case, type(pytest.param())) else case if size > 1 else (case,)
    ident = getattr(case, "id", None) if isinstance(case, type(pytest.param())) else None
    return ident or "-".join(str(value) for value in values), values
