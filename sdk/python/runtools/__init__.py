"""Client of the runtools Code Execution API. Standard library only.

    from runtools import RunTools

    rt = RunTools(api_key="rt_live_...")
    result = rt.execute("python", "print(42)")
    print(result.run.stdout)  # 42

`AsyncRunTools` is the same for asyncio.
"""

from .async_client import AsyncRunTools, AsyncSession
from .client import RunTools, Session
from .errors import RunToolsConnectionError, RunToolsError, RunToolsTimeoutError
from .request import File
from .result import ExecuteResult, LimitFired, LimitUse, Runtime, Stage, Status
from .version import VERSION as __version__

__all__ = [
    "RunTools",
    "AsyncRunTools",
    "Session",
    "AsyncSession",
    "ExecuteResult",
    "Stage",
    "Status",
    "LimitFired",
    "LimitUse",
    "Runtime",
    "File",
    "RunToolsError",
    "RunToolsConnectionError",
    "RunToolsTimeoutError",
    "__version__",
]
