"""The exception tree of the three tools.

    TinyEngineError
      UserError        the user's input is wrong: exit code 1, one message, no traceback
        ModelError     a model file or graph cannot be read or supported
        SchemeError    an update scheme does not fit the model
        BudgetError    the plan does not fit the board
      DeviceError      a device, emulator or link failed: exit code 3
      InternalError    a broken invariant of our own: exit code 70

Messages say what is wrong, where, the numbers, and what to do; they start in lower case.
"""


class TinyEngineError(Exception):
    """Base of every error the tools raise on purpose."""

    exit_code = 70


class UserError(TinyEngineError):
    """The user's input is wrong; the message tells what to do."""

    exit_code = 1


class ModelError(UserError):
    """A model cannot be read, or uses something that is not supported."""


class SchemeError(UserError):
    """An update scheme does not fit the model it is applied to."""


class BudgetError(UserError):
    """The plan needs more memory than the board has."""


class DeviceError(TinyEngineError):
    """A device, an emulator or the link to it failed."""

    exit_code = 3


class InternalError(TinyEngineError):
    """An invariant of this program is broken; never the user's fault."""

    exit_code = 70
