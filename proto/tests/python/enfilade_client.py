"""A small asyncio client of the Enfilade protocol, written from PROTOCOL.md alone.

http = Http("http://127.0.0.1:8080")
board = await http.create_board("Sketches")
async with Client("http://127.0.0.1:8080", name="Ada") as ada:
    room = await ada.join(board["id"], board["link"])
    seq = await ada.submit(room, "add_line", {"element": "l1", ...})
    await room.reaches(seq)
    print(room.board.elements["l1"])
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import itertools
import json
import random
import urllib.error
import urllib.request
import uuid
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

JsonObject = dict[str, Any]
OnPush = Callable[[str, JsonObject], Awaitable[bool]]
OnReply = Callable[[JsonObject], None]

DEADLINE = 10.0
"""Seconds within which the server must have answered."""

INFLATED_MAX = 256 * 1024 * 1024
"""Bytes that a compressed snapshot may have when it is unpacked."""


class Refused(Exception):
    """The server answered a request with an `error`."""

    def __init__(self, code: str, message: str = "", retry_after_ms: int | None = None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


class Closed(Exception):
    """The connection is gone."""

    def __init__(self, code: int | None, reason: str = ""):
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


# --- Points and pressure -------------------------------------------------------------------------


def zigzag(number: int) -> int:
    """0, -1, 1, -2, 2 -> 0, 1, 2, 3, 4."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def unzigzag(code: int) -> int:
    """0, 1, 2, 3, 4 -> 0, -1, 1, -2, 2."""
    return code >> 1 if code & 1 == 0 else -((code + 1) >> 1)


def to_varints(codes: Iterable[int]) -> bytes:
    """Write each number in groups of 7 bits, the lowest first."""
    out = bytearray()
    for code in codes:
        while code > 0x7F:
            out.append(code & 0x7F | 0x80)
            code >>= 7
        out.append(code)
    return bytes(out)


def from_varints(data: bytes) -> list[int]:
    """Read what `to_varints` wrote."""
    codes, code, shift = [], 0, 0
    for byte in data:
        code |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80 == 0:
            codes.append(code)
            code, shift = 0, 0
    if shift:
        raise ValueError("the last varint is cut off")
    return codes


def point_codes(points: Iterable[Iterable[float]]) -> list[int]:
    """Points as the zigzag codes of their differences in quarters: the `points` of a live stroke."""
    codes, before = [], [0, 0]
    for point in points:
        quarters = [round(number * 4) for number in point]
        codes += [zigzag(now - then) for now, then in zip(quarters, before, strict=True)]
        before = quarters
    return codes


def points_of_codes(codes: list[int]) -> list[list[float]]:
    """Read what `point_codes` wrote."""
    xs = itertools.accumulate(map(unzigzag, codes[0::2]))
    ys = itertools.accumulate(map(unzigzag, codes[1::2]))
    return [[x / 4, y / 4] for x, y in zip(xs, ys, strict=True)]


def pack_points(points: Iterable[Iterable[float]]) -> bytes:
    """Points of a stroke as MessagePack carries them."""
    return to_varints(point_codes(points))


def unpack_points(data: bytes) -> list[list[float]]:
    """Read what `pack_points` wrote."""
    return points_of_codes(from_varints(data))


def pack_pressure(pressure: list[int]) -> bytes:
    """Pressure of a stroke as MessagePack carries it."""
    return to_varints(zigzag(now - then) for then, now in itertools.pairwise([0, *pressure]))


def unpack_pressure(data: bytes) -> list[int]:
    """Read what `pack_pressure` wrote."""
    return list(itertools.accumulate(map(unzigzag, from_varints(data))))


# --- Codecs --------------------------------------------------------------------------------------


class JsonCodec:
    """Text frames of JSON."""

    subprotocol = "enfilade.v1.json"

    @staticmethod
    def encode(message: JsonObject) -> str:
        """Write one message as a frame."""
        return json.dumps(message, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def decode(frame: str | bytes) -> list[JsonObject]:
        """Read the messages of a frame."""
        messages = json.loads(frame)
        return messages if isinstance(messages, list) else [messages]


class MessagePackCodec:
    """Binary frames of MessagePack. On this side of the codec everything looks as in JSON."""

    subprotocol = "enfilade.v1.msgpack"

    UUIDS = frozenset({"author", "client", "id", "left", "room", "room_id"})
    """The names of the fields that hold UUIDs, or lists of them."""

    @classmethod
    def encode(cls, message: JsonObject) -> bytes:
        """Write one message as a frame."""
        return msgpack.packb([message["type"], message.get("id"), cls._pack(message["data"])])

    @classmethod
    def decode(cls, frame: str | bytes) -> list[JsonObject]:
        """Read the messages of a frame."""
        items = msgpack.unpackb(frame)
        return [cls._message(*item[:3]) for item in ([items] if isinstance(items[0], str) else items)]

    @classmethod
    def _message(cls, kind: str, message_id: int | None, data: JsonObject) -> JsonObject:
        message = {"type": kind, "data": cls._unpack(data)}
        return message if message_id is None else message | {"id": message_id}

    @classmethod
    def _pack(cls, value: Any, name: str = "") -> Any:
        if name == "body":
            return value
        if name == "points":
            return pack_points(value)
        if name == "pressure":
            return pack_pressure(value)
        if name in cls.UUIDS and isinstance(value, str):
            return uuid.UUID(value).bytes
        if isinstance(value, dict):
            return {key: cls._pack(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [cls._pack(item, name) for item in value]
        return value

    @classmethod
    def _inflated(cls, packed: bytes) -> Any:
        """The value that was packed as raw DEFLATE."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(packed, INFLATED_MAX)
        if not inflater.eof:
            raise ValueError("a compressed snapshot is cut off, or too large")
        return msgpack.unpackb(plain)

    @classmethod
    def _unpack(cls, value: Any, name: str = "") -> Any:
        if name == "body":
            return value
        if isinstance(value, dict) and "snapshot_deflate" in value:
            packed = value.pop("snapshot_deflate")
            value["snapshot"] = cls._inflated(packed)
        if isinstance(value, bytes):
            if name == "points":
                return unpack_points(value)
            if name == "pressure":
                return unpack_pressure(value)
            return str(uuid.UUID(bytes=value))
        if isinstance(value, dict):
            return {key: cls._unpack(item, key) for key, item in value.items() if item is not None or key == "body"}
        if isinstance(value, list):
            return [cls._unpack(item, name) for item in value]
        return value


# --- Boards --------------------------------------------------------------------------------------


class Board:
    """A replica of a board: a snapshot, and the ops after it."""

    STYLES = {
        "stroke": {"color", "width"},
        "line": {"color", "width"},
        "arrow": {"color", "width"},
        "rectangle": {"color", "width", "fill"},
        "ellipse": {"color", "width", "fill"},
        "text": {"color", "size"},
        "note": {"color"},
    }
    """The properties that `restyle` can set, by the type of the element."""

    def __init__(self, elements: Iterable[JsonObject] = ()):
        self.elements: dict[str, JsonObject] = {element["element"]: copy.deepcopy(element) for element in elements}
        self._tidy(self.elements)

    def visible(self) -> list[JsonObject]:
        """What is to be drawn, the undermost first."""
        there = [element for element in self.elements.values() if "deleted_by" not in element]
        return sorted(there, key=lambda element: (element["z"], element["element"]))

    def apply(self, seq: int, author: str, op: JsonObject) -> None:
        """Apply an op that the server sent. Ops of unknown types are skipped."""
        kind, data = op["type"], copy.deepcopy(op.get("data", {}))
        if kind.startswith("add_"):
            added = {"type": kind.removeprefix("add_"), "author": author, "z": seq}
            self.elements[data["element"]] = data | added
        elif kind == "change":
            for element in self._named([data["element"]]):
                if "points" in data:
                    element.pop("pressure", None)
                element.update(data)
        elif kind == "move":
            for element, offset in self._named(data["elements"], data["offsets"]):
                element["offset"] = offset
        elif kind == "restyle":
            for element in self._named(data["elements"]):
                styles = self.STYLES.get(element["type"], set()) & data.keys()
                element.update({name: data[name] for name in styles})
        elif kind == "reorder":
            for element, z in self._named(data["elements"], data["z"]):
                element["z"] = z
        elif kind == "delete":
            for element in self._named(data["elements"]):
                element.setdefault("deleted_by", seq)
        elif kind == "clear":
            for element in self.elements.values():
                element.setdefault("deleted_by", seq)
        elif kind == "restore":
            for element in self.elements.values():
                if element.get("deleted_by") == data["deleted_by"]:
                    del element["deleted_by"]
        elif kind == "forget":
            for name in data["elements"]:
                self.elements.pop(name, None)
        self._tidy(data.get("elements") or [data.get("element")])

    def _tidy(self, names: Iterable[str]) -> None:
        """Of the two ways to say that an element is not moved, or not filled, keep one."""
        for element in self._named(list(names)):
            if element.get("offset") == [0, 0]:
                del element["offset"]
            if element.get("fill") == "#00000000":
                del element["fill"]

    def _named(self, names: list[str], values: list[Any] | None = None) -> list[Any]:
        """The elements of these ids that are on the board, each with its value if there are values."""
        if values is None:
            return [self.elements[name] for name in names if name in self.elements]
        return [
            (self.elements[name], value) for name, value in zip(names, values, strict=True) if name in self.elements
        ]


class Room:
    """What a client knows of a room that it joined."""

    def __init__(self, room_id: str, link: str | None = None):
        self.id = room_id
        self.link = link
        self.role = ""
        self.kind = ""
        self.title = ""
        self.epoch: int | None = None
        self.seq = 0
        self.accepted = 0
        """The highest seq that an op of ours was accepted at."""
        self.board = Board()
        self.ops: list[JsonObject] = []
        """The ops since the snapshot, each with its `seq`."""
        self.members: dict[str, JsonObject] = {}
        self.count = 0
        self.audience = 0
        """How many only watch."""
        self.signals: list[JsonObject] = []
        self._changed = asyncio.Condition()

    @property
    def position(self) -> JsonObject | None:
        """Where we stand; nothing before the first join."""
        return None if self.epoch is None else {"epoch": self.epoch, "seq": self.seq}

    async def until(self, condition: Callable[[], Any], within: float = DEADLINE) -> Any:
        """Wait until something holds of the room, and return it."""
        async with asyncio.timeout(within), self._changed:
            return await self._changed.wait_for(condition)

    async def reaches(self, seq: int) -> None:
        """Wait until the op of this seq is applied."""
        await self.until(lambda: self.seq >= seq)

    async def notify(self) -> None:
        """Wake those who wait for the room."""
        async with self._changed:
            self._changed.notify_all()

    def take_joined(self, data: JsonObject) -> None:
        """Take the answer to a `join`, or a `reset`."""
        self.role = data.get("role", self.role)
        self.kind = data.get("kind", self.kind)
        self.title = data.get("title", self.title)
        if "snapshot" in data:
            self.board = Board(data["snapshot"]["elements"])
            self.seq = data["snapshot"]["seq"]
            self.ops.clear()
        if "presence" in data:
            self.take_presence(data["presence"])
        self.epoch = data["position"]["epoch"]
        ops = data.get("ops", [])
        self.take_ops({"epoch": self.epoch, "first_seq": data["position"]["seq"] - len(ops) + 1, "ops": ops})

    def take_ops(self, data: JsonObject) -> bool:
        """Apply the ops that are new here; return whether they follow without a gap."""
        if data["first_seq"] > self.seq + 1:
            return False
        self.epoch = data["epoch"]
        for seq, op in enumerate(data["ops"], data["first_seq"]):
            if seq > self.seq:
                self.board.apply(seq, op["author"], op["op"])
                self.ops.append(op | {"seq": seq})
                self.seq = seq
        return True

    def take_presence(self, data: JsonObject) -> None:
        """Take who is here, or what changed about it."""
        self.count = data["count"]
        self.audience = data.get("audience", 0)
        if "members" in data:
            self.members = {member["id"]: member for member in data["members"]}
        self.members |= {member["id"]: member for member in data.get("joined", [])}
        for person in data.get("left", []):
            self.members.pop(person, None)


# --- Connections ---------------------------------------------------------------------------------


class Connection:
    """One WebSocket: requests with their replies, and pushes in their order."""

    def __init__(self, socket: ClientConnection, codec: type, on_push: OnPush | None = None):
        self.socket = socket
        self.codec = codec
        self.pushes: asyncio.Queue[JsonObject] = asyncio.Queue()
        """The pushes that `on_push` did not take."""
        self.silence: float | None = None
        """Seconds after which a connection on which nothing is heard is dead."""
        self._on_push = on_push
        self._ids = itertools.count(1)
        self._requests: dict[int, tuple[asyncio.Future[JsonObject], OnReply | None]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, base: str, codec: type = JsonCodec, on_push: OnPush | None = None) -> Connection:
        """Open a WebSocket to a server, without saying hello yet."""
        socket = await connect(
            base.replace("http", "ws", 1) + "/ws",
            subprotocols=[codec.subprotocol],
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        )
        return cls(socket, codec, on_push)

    async def send(self, kind: str, data: JsonObject, message_id: int | None = None) -> None:
        """Send a message without waiting for anything."""
        message = {"type": kind, "data": data}
        if message_id is not None:
            message["id"] = message_id
        await self.send_raw(self.codec.encode(message))

    async def send_raw(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        try:
            await self.socket.send(frame)
        except ConnectionClosed:
            raise self._closed() from None

    async def request(self, kind: str, data: JsonObject, on_reply: OnReply | None = None) -> JsonObject:
        """Send a request and return the data of its reply.

        `on_reply` takes the data before any later message is looked at.
        """
        message_id = next(self._ids)
        reply = asyncio.get_running_loop().create_future()
        self._requests[message_id] = reply, on_reply
        try:
            async with asyncio.timeout(DEADLINE):
                await self.send(kind, data, message_id)
                return await reply
        finally:
            del self._requests[message_id]

    async def push(self, kind: str, within: float = DEADLINE) -> JsonObject:
        """Wait for the next push of a type that no `on_push` took, and return its data."""
        async with asyncio.timeout(within):
            while (message := await self.pushes.get())["type"] != kind:
                pass
        return message["data"]

    async def closed(self, within: float = DEADLINE) -> Closed:
        """Wait for the connection to end, and return how it did."""
        async with asyncio.timeout(within):
            await asyncio.wait([self._reader])
            await self.socket.wait_closed()
        return self._closed()

    async def close(self) -> None:
        """Close the connection."""
        await self.socket.close()
        await asyncio.wait([self._reader])

    def _closed(self) -> Closed:
        return Closed(self.socket.close_code, self.socket.close_reason or "")

    async def _read(self) -> None:
        try:
            while True:
                async with asyncio.timeout(self.silence):
                    frame = await self.socket.recv()
                for message in self.codec.decode(frame):
                    await self._take(message)
        except (Closed, ConnectionClosed):
            pass
        except TimeoutError:
            await self.socket.close()
        finally:
            for reply, _ in self._requests.values():
                if not reply.done():
                    reply.set_exception(self._closed())

    async def _take(self, message: JsonObject) -> None:
        kind, data = message["type"], message["data"]
        if "id" in message:
            self._take_reply(message["id"], kind, data)
            return
        if kind == "ping":
            await self.send("pong", {})
        if self._on_push is None or not await self._on_push(kind, data):
            self.pushes.put_nowait(message)

    def _take_reply(self, message_id: int, kind: str, data: JsonObject) -> None:
        reply, on_reply = self._requests.get(message_id, (None, None))
        if reply is None or reply.done():
            return
        if kind == "error":
            reply.set_exception(Refused(data["code"], data.get("message", ""), data.get("retry_after_ms")))
            return
        if on_reply:
            on_reply(data)
        reply.set_result(data)


class Client:
    """A person in rooms, across reconnects: no op is lost and none is applied twice."""

    def __init__(
        self, base: str, name: str = "", codec: type = JsonCodec, token: str | None = None, audience: bool = False
    ):
        self.base = base
        self.codec = codec
        self.credentials: JsonObject = {"token": token} if token else {} if audience else {"guest": {"name": name}}
        if audience:
            self.credentials["audience"] = True
        if codec is MessagePackCodec:
            self.credentials["compression"] = ["deflate"]
        self.id = str(uuid.uuid4())
        self.welcome: JsonObject = {}
        self.rooms: dict[str, Room] = {}
        self.connection: Connection
        self._op_ids = itertools.count(1)
        self._unanswered: dict[int, JsonObject] = {}
        self._rejoining: dict[str, asyncio.Task[Room]] = {}

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def user(self) -> str:
        """The id of the person."""
        return self.welcome["user"]["id"]

    async def connect(self) -> None:
        """Open a connection and say hello, as the person of an earlier welcome if there was one."""
        hello = {"client": self.id, **self.credentials}
        if "resume" in self.welcome:
            hello["resume"] = self.welcome["resume"]
        self.connection = await Connection.open(self.base, self.codec, self._push)
        try:
            self.welcome = await self.connection.request("hello", hello)
        except BaseException:
            await self.connection.close()
            raise
        self.connection.silence = self.welcome["ping_ms"] / 1000 + 10

    async def close(self) -> None:
        """Close the connection."""
        for rejoining in self._rejoining.values():
            rejoining.cancel()
        await self.connection.close()

    async def reconnect(self) -> dict[int, int | Refused]:
        """Come back after a lost connection: hello, rejoin, and the unanswered ops again.

        Returns the answers to these ops, by op id.
        """
        await self.close()
        await self.connect()
        for room in list(self.rooms.values()):
            await self.join(room.id)
        answers: dict[int, int | Refused] = {}
        for op_id, submit in sorted(self._unanswered.items()):
            try:
                answers[op_id] = await self._submit(submit)
            except Refused as refused:
                answers[op_id] = refused
        return answers

    @staticmethod
    def reconnect_delay(attempt: int) -> float:
        """Seconds to wait before the n-th attempt to reconnect, counted from 0."""
        return random.uniform(0, min(30.0, 0.5 * 2**attempt))

    async def join(self, room_id: str, link: str | None = None) -> Room:
        """Join a room, or rejoin it from where we stand."""
        room = self.rooms.get(room_id) or Room(room_id)
        room.link = link or room.link
        request: JsonObject = {"room": room_id}
        if room.link:
            request["link"] = room.link
        if room.position:
            request["since"] = room.position

        def take(data: JsonObject) -> None:
            room.take_joined(data)
            self.rooms[room_id] = room

        await self.connection.request("join", request, take)
        await room.notify()
        return room

    async def leave(self, room: Room) -> None:
        """Leave a room and forget it."""
        self.rooms.pop(room.id, None)
        await self.connection.request("leave", {"room": room.id})

    async def submit(self, room: Room, kind: str, data: JsonObject, op_id: int | None = None) -> int:
        """Submit an op and return its seq: it is on disk.

        An op that gets no answer, or one that invites to try again, is sent again by `reconnect`.
        """
        op_id = next(self._op_ids) if op_id is None else op_id
        seq = await self._submit({"room": room.id, "op_id": op_id, "op": {"type": kind, "data": data}})
        room.accepted = max(room.accepted, seq)
        return seq

    async def signal(self, room: Room, key: str, body: Any) -> None:
        """Send a signal; it has no reply."""
        await self.connection.send("signal", {"room": room.id, "key": key, "body": body})

    async def _submit(self, submit: JsonObject) -> int:
        self._unanswered[submit["op_id"]] = submit
        try:
            accepted = await self.connection.request("submit", submit)
        except Refused as refused:
            if refused.retry_after_ms is None:
                self._unanswered.pop(submit["op_id"], None)
            raise
        self._unanswered.pop(submit["op_id"], None)
        return accepted["seq"]

    async def _push(self, kind: str, data: JsonObject) -> bool:
        """Take a push that belongs to our rooms; return whether it was one."""
        if kind == "ping":
            for head in data.get("heads", []):
                room = self.rooms.get(head["room"])
                if room and room.seq < head["seq"]:
                    self._rejoin(room)
            return True
        if kind not in ("ops", "signals", "presence", "reset"):
            return False
        room = self.rooms.get(data["room"])
        if room is None:
            return True
        if kind == "ops":
            if not room.take_ops(data):
                self._rejoin(room)
        elif kind == "signals":
            room.signals += data["signals"]
        elif kind == "presence":
            room.take_presence(data)
        else:
            room.take_joined(data)
        await room.notify()
        return True

    def _rejoin(self, room: Room) -> None:
        """Fetch what we missed, in the background: the reader must go on reading."""
        if room.id not in self._rejoining:
            task = self._rejoining[room.id] = asyncio.create_task(self.join(room.id))
            task.add_done_callback(lambda _: self._rejoining.pop(room.id))


# --- HTTP ----------------------------------------------------------------------------------------


_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Http:
    """The few HTTP requests that a realtime client needs."""

    def __init__(self, base: str):
        self.base = base

    async def request(
        self, method: str, path: str, body: JsonObject | None = None, link: str | None = None
    ) -> JsonObject | None:
        """Send a request and return the answer's JSON; problems are raised as `Refused`."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if link:
            headers["Enfilade-Link"] = link
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        return await asyncio.to_thread(self._send, request)

    def answers(self, path: str) -> bool:
        """Whether a GET is answered with 200 now."""
        try:
            with _open(self.base + path, timeout=DEADLINE) as response:
                return response.status == 200
        except OSError:
            return False

    async def create_board(self, title: str) -> JsonObject:
        """Make a board as a guest; the answer has `id` and `link`, the secret of its owner."""
        return await self.request("POST", "/api/v1/rooms", {"kind": "board", "title": title})

    async def create_link(self, board: JsonObject, role: str) -> JsonObject:
        """Make a share link of a role for a board; the answer has `id` and `link`, the secret."""
        path = f"/api/v1/rooms/{board['id']}/links"
        return await self.request("POST", path, {"role": role}, board["link"])

    async def latest_snapshot(self, board: JsonObject) -> tuple[str, JsonObject]:
        """Follow the way to the newest snapshot of a board; return where it is, and what it is."""
        headers = {"Enfilade-Link": board["link"], "Accept-Encoding": "gzip"}
        path = f"{self.base}/api/v1/rooms/{board['id']}/snapshots/latest"
        return await asyncio.to_thread(self._fetch, urllib.request.Request(path, headers=headers))

    @staticmethod
    def _fetch(request: urllib.request.Request) -> tuple[str, JsonObject]:
        with _open(request, timeout=DEADLINE) as response:
            content = response.read()
            if response.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            return response.geturl(), json.loads(content)

    @staticmethod
    def _send(request: urllib.request.Request) -> JsonObject | None:
        try:
            with _open(request, timeout=DEADLINE) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            with error:
                problem = json.load(error)
            raise Refused(problem["code"], problem.get("detail", ""), problem.get("retry_after_ms")) from None
        return json.loads(content) if content else None
