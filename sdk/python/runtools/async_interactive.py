from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Dict, Literal, Optional

from .errors import RunToolsError
from .events import Event, ResultEvent, decode_message
from .protocol import CallOptions, input_messages
from .request import Content

if TYPE_CHECKING:
    from .async_client import AsyncRunTools
    from .async_session import AsyncSession
    from .streams import Socket

Signal = Literal[
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGWINCH"
]


class AsyncInteractive:
    """A program that is talked to while it runs. Made by `AsyncRunTools.interactive`, and used in a `with`, whose end hangs up; a loop over it gives
    the events, as those of `stream`.

    What is sent before the program has begun waits for it; what is sent after its end is dropped. Failures are raised by the `with`, if it cannot be
    begun, and later by the loop, nowhere else. Events that nobody has asked for yet are kept, in memory: at most `output_limit`. While one thread, or
    task, is in the loop, others may send.
    """

    def __init__(self, client: AsyncRunTools, session: Optional[AsyncSession], fields: Dict[str, Any], options: CallOptions) -> None:
        self._client = client
        self._session = session
        self._fields = fields
        self._options = options
        self._held = AsyncExitStack()  # the session's turn and the connection
        self._socket: Optional[Socket] = None
        self._begun = False  # there was an event, so that some of the program ran
        self._over = False  # there are no more

    async def __aenter__(self) -> AsyncInteractive:
        if self._socket is not None:
            raise RuntimeError("a program begins once: call interactive again")
        fields = self._fields
        try:
            if self._session is not None:
                await self._held.enter_async_context(self._session._turn)
                fields = {**fields, "session_id": self._session._id}
            self._socket = await self._client._open_socket(fields, self._options)
            self._held.push_async_callback(self._socket.close)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncInteractive:
        return self

    async def __anext__(self) -> Event:
        while not self._over:
            try:
                text = await self._connection().receive()
                event = None if text is None else decode_message(text, self._begun)
            except RunToolsError:  # not a cancellation and not Ctrl-C: the next event can still be asked for
                self._over = True
                await self.close()
                raise
            self._begun = True
            if isinstance(event, ResultEvent) and self._session is not None:
                self._session._id = event.result.session_id
            self._over = text is None or isinstance(event, ResultEvent)
            if self._over:
                await self.close()
            if event is not None:
                return event
        raise StopAsyncIteration

    async def write(self, data: Content) -> None:
        """Sends input: text as UTF-8, or bytes. Waits while the network takes no more, as it does once much waits for the program to read."""
        for message in input_messages(data):
            await self._connection().send(message, wait=True)

    async def close_input(self) -> None:
        """The end of input. With a terminal it types Ctrl-D."""
        await self._send(type="stdin_close")

    async def signal(self, name: Signal) -> None:
        """Sends a signal to the program's main process; the server's documentation says what is different with a terminal."""
        await self._send(type="signal", signal=name)

    async def resize(self, cols: int, rows: int) -> None:
        """The terminal has another size now, 1 to 1000 each way. Without a terminal it does nothing."""
        await self._send(type="resize", cols=cols, rows=rows)

    async def close(self) -> None:
        """Hangs up, which kills the program if it still runs. A loop ends without a result, after the events that have come."""
        await self._held.aclose()

    async def _send(self, **message: Any) -> None:
        await self._connection().send(json.dumps(message), wait=False)

    def _connection(self) -> Socket:
        if self._socket is None:
            raise RuntimeError("the program has not begun: use it in a `with`")
        return self._socket
