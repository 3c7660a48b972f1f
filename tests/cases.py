"""Many small cases in one test: every case is checked, and each that fails is named."""

import functools
import inspect

import pytest

MOST_SHOWN = 10  # errors with their traceback; every case that fails is named


def check_each(names, cases):
    """Call a test with every case, which `pytest.mark.parametrize` takes as they are, in one test with its fixtures.

    For cases that change nothing and take less time than it takes to collect, set up and report a test.
    """
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    named = [_name_case(case, len(names)) for case in cases]
    if not named:
        raise ValueError("there is no case to check")

    def decorate(test):
        if inspect.iscoroutinefunction(test) or inspect.isgeneratorfunction(test):
            raise TypeError(f"{test.__name__} is not called to its end")

        @functools.wraps(test)
        def check(**fixtures):
            errors = {}
            for name, values in named:
                try:
                    test(**fixtures, **dict(zip(names, values, strict=True)))
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - raised below
                    error.add_note(f"This was the case {name}.")
                    errors[name] = error
            if errors:
                summary = f"{len(errors)} of {len(named)} cases: {', '.join(errors)}"
                raise BaseExceptionGroup(summary, [*errors.values()][:MOST_SHOWN])

        # pytest asks the signature which fixtures the test uses.
        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in names]
        vars(check)["__signature__"] = signature.replace(parameters=fixtures)
        return check

    return decorate


def _name_case(case, size):
    values = case.values if isinstance(case, type(pytest.param())) else case if size > 1 else (case,)
    ident = getattr(case, "id", None) if isinstance(case, type(pytest.param())) else None
    return ident or "-".join(str(value) for value in values), values
