// Node has a WebSocket from 22 on. Before, it is that of the package ws.
import WebSocket from "../typescript/node_modules/ws/wrapper.mjs";

globalThis.WebSocket ??= WebSocket;
