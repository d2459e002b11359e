from __future__ import annotations

from typing import Dict, Optional


class RunToolsError(Exception):
    """There is no result: the server refused the request, or could not be reached, or did not answer in time.

    What a program did is never an error, it is in the result. `code` is what callers branch on:

    | code | status | |
    |---|---|---|
    | `bad_request`, `invalid_json`, `invalid_field`, `unknown_language`, `unknown_version` | 400 | the request is wrong; `field` says where |
    | `unauthorized` | 401 | no valid key (without a status: none was given) |
    | `forbidden` | 403 | the key is not an operator's |
    | `not_found`, `method_not_allowed`, `unsupported_media_type`, `upgrade_required` | 404, 405, 415, 426 | most likely `base_url` is not the server's |
    | `payload_too_large` | 413 | |
    | `rate_limited` | 429 | this key has its share: of requests waiting, connections, memory, answers not read, or sessions |
    | `overloaded` | 503 | the server is full, or going down |
    | `interrupted` | 503 | the server, or a part of it, went down while the program may have run |
    | `internal` | 500 | the operator finds why under `request_id` |
    | `connection_failed` | | `RunToolsConnectionError` |
    | `timeout` | | `RunToolsTimeoutError` |
    | `unexpected_answer` | any | not the API's: most likely a proxy's, or `base_url` is wrong |

    Attributes:

    - `code`: see above.
    - `status`: HTTP status; None without an answer.
    - `field`: the field that was refused, as the API spells it: `"run_timeout"`, `"files[2].name"`.
    - `request_id`: finds the request in the server's log.
    - `retry_after`: how long the server asked to wait, seconds.
    - `may_have_run`: False if it is certain that the program did not run, so that it is safe to send it again.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: Optional[int] = None,
        field: Optional[str] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
        may_have_run: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.field = field
        self.request_id = request_id
        self.retry_after = retry_after
        self.may_have_run = may_have_run

    def __reduce__(self):
        # Exceptions cross process pools pickled, and keyword arguments would be lost.
        return _restore, (type(self), self.args, self.__dict__)


def told_error(error: Dict[str, str], may_have_run: bool) -> RunToolsError:
    """What an answer of status 200 says went wrong."""
    return RunToolsError(
        f"{error['message']} ({error['code']}, request {error.get('request_id')})",
        code=error["code"],
        field=error.get("field"),
        request_id=error.get("request_id"),
        may_have_run=may_have_run,
    )


def _restore(kind, args, state):
    error = kind.__new__(kind, *args)
    error.args = args  # OSError.__new__ leaves them to __init__
    error.__dict__.update(state)
    return error


class RunToolsConnectionError(RunToolsError, ConnectionError):
    """No answer: the server could not be reached, or the connection was lost. Also a `ConnectionError`."""


class RunToolsTimeoutError(RunToolsError, TimeoutError):
    """No answer within `timeout`. The connection is closed, and the server has killed the program if it ran. Also a `TimeoutError`."""
