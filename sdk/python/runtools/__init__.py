"""Client of the runtools Code Execution API. Standard library only.

    from runtools import RunTools

    rt = RunTools(api_key="rt_live_...")
    result = rt.execute("python", "print(42)")
    print(result.run.stdout)  # 42

`AsyncRunTools` is the same for asyncio.
"""

from .async_client import AsyncRunTools
from .async_interactive import AsyncInteractive
from .async_session import AsyncSession, AsyncSessionFiles
from .client import RunTools
from .errors import RunToolsConnectionError, RunToolsError, RunToolsTimeoutError
from .events import CompileEvent, Event, ExitEvent, OutputEvent, ResultEvent, TestEvent
from .interactive import Interactive, Signal
from .request import File, Test, Webhook
from .result import Artifact, ArtifactsOmitted, Diagnostic, ExecuteResult, Execution, FileEntry, LimitFired, LimitUse, Repeat, Runtime
from .result import SessionInfo, Spread, Stage, Status, TestResult, Violation, WebhookState
from .session import Session, SessionFiles
from .version import VERSION as __version__

__all__ = [
    "RunTools",
    "AsyncRunTools",
    "Session",
    "SessionFiles",
    "AsyncSession",
    "AsyncSessionFiles",
    "Interactive",
    "Signal",
    "AsyncInteractive",
    "ExecuteResult",
    "Artifact",
    "ArtifactsOmitted",
    "Repeat",
    "Spread",
    "Execution",
    "Webhook",
    "WebhookState",
    "Stage",
    "Status",
    "Diagnostic",
    "LimitFired",
    "LimitUse",
    "Violation",
    "Test",
    "TestResult",
    "Event",
    "CompileEvent",
    "OutputEvent",
    "ExitEvent",
    "TestEvent",
    "ResultEvent",
    "SessionInfo",
    "FileEntry",
    "Runtime",
    "File",
    "RunToolsError",
    "RunToolsConnectionError",
    "RunToolsTimeoutError",
    "__version__",
]
