"""The exceptions that are meant for a person to read.

Every layer may import this module. The commands print a `UserError` as one
sentence without a traceback; any other exception is a bug and keeps its own.
"""


class UserError(ValueError):
  """A mistake or condition that the user can mend, said in one sentence."""


class NoFaceError(UserError):
  """A photo or a video shows no face."""
