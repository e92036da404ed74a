"""What PROTOCOL.md promises, proved against the real server by a client written from that page alone.

Run from the root of the project:

    pip install -r proto/tests/python/requirements.txt
    python -m unittest discover -s proto/tests/python -v

The server's binary is `target/debug/enfilade`, or what ENFILADE_BIN names.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import json
import operator
import os
import random
import socket
import struct
import subprocess
import tempfile
import time
import unittest
import uuid
from pathlib import Path
from typing import Any

from enfilade_client import (
    Board,
    Client,
    Connection,
    Http,
    JsonCodec,
    JsonObject,
    MessagePackCodec,
    Refused,
    Room,
    pack_points,
    pack_pressure,
    point_codes,
    points_of_codes,
    unpack_points,
    unpack_pressure,
    unzigzag,
    zigzag,
)

PROJECT = Path(__file__).resolve().parents[3]
BINARY = PROJECT / os.environ.get("ENFILADE_BIN", "target/debug/enfilade")
VECTORS = PROJECT / "proto/vectors"

NIL = str(uuid.UUID(int=0))
CODECS = (JsonCodec, MessagePackCodec)


class Server:
    """The real server on free ports, with a data directory of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="enfilade-test-")
        self._process: subprocess.Popen[bytes] | None = None
        listen, admin = free_ports(2)
        self.base = f"http://127.0.0.1:{listen}"
        self._admin = Http(f"http://127.0.0.1:{admin}")
        self._command = [
            str(BINARY),
            "serve",
            *("--listen", f"127.0.0.1:{listen}"),
            *("--admin-listen", f"127.0.0.1:{admin}"),
            *("--data-dir", f"{self._directory.name}/data"),
        ]

    def start(self, within: float = 30.0) -> None:
        """Start it, and return when it is ready."""
        log = Path(self._directory.name, "log")
        Path(self._directory.name, "data").mkdir(exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + within
        while not self._admin.answers("/readyz"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(0.05)
                raise RuntimeError(f"the server ended with {status}:\n{log.read_text()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server is not ready:\n{log.read_text()}")

    def kill(self) -> None:
        """End it without any warning."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._process.terminate()
        self._process.wait(15)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process and self._process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        self._directory.cleanup()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


class ServerCase(unittest.IsolatedAsyncioTestCase):
    """Tests that need the server; each class has its own."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        if not BINARY.is_file():
            raise unittest.SkipTest(f"there is no server at {BINARY}: build it, or name it in ENFILADE_BIN")
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)
        cls.server.start()

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().slow_callback_duration = 5.0
        self.http = Http(self.server.base)
        self.board = await self.http.create_board("Sketches")

    async def guest(self, name: str, codec: type = JsonCodec) -> Client:
        """A guest who said hello."""
        return await self.enterAsyncContext(Client(self.server.base, name, codec))

    async def member(self, name: str, codec: type = JsonCodec, link: str | None = None) -> tuple[Client, Room]:
        """A guest who joined the board, through the owner's link if no other is given."""
        client = await self.guest(name, codec)
        return client, await client.join(self.board["id"], link or self.board["link"])

    async def connection(self, codec: type = JsonCodec) -> Connection:
        """A bare connection that did not say hello."""
        connection = await Connection.open(self.server.base, codec)
        self.addAsyncCleanup(connection.close)
        return connection

    async def greeted(self, codec: type = JsonCodec) -> Connection:
        """A bare connection that said hello."""
        connection = await self.connection(codec)
        await connection.request("hello", hello())
        return connection

    async def assert_refused(self, code: str, request: Any) -> None:
        """The request is answered with this code."""
        with self.assertRaises(Refused) as caught:
            await request
        self.assertEqual(caught.exception.code, code, caught.exception)

    async def assert_closed(self, connection: Connection, code: int, reason: str) -> None:
        """The server announces this close and does it."""
        closing = await connection.push("closing")
        self.assertEqual((closing["code"], closing["reason"]), (code, reason))
        closed = await connection.closed()
        self.assertEqual((closed.code, closed.reason), (code, reason))


def hello(**fields: Any) -> JsonObject:
    """The data of a hello, of a new guest if nothing else is said."""
    return {"client": str(uuid.uuid4())} | (fields or {"guest": {"name": "Ada"}})


def line(element: str, **fields: Any) -> JsonObject:
    """The data of an `add_line`."""
    return {"element": element, "color": "#1a1a1a", "width": 1, "from": [0, 0], "to": [10, 10.25]} | fields


def stroke(element: str, points: list[list[float]], **fields: Any) -> JsonObject:
    """The data of an `add_stroke`."""
    return {"element": element, "color": "#1a1a1a", "width": 4, "points": points} | fields


async def everything_seen(*rooms: Room) -> None:
    """Wait until all of them have seen what any has seen or was told to be accepted (the answer may come before the op)."""
    furthest = max(max(room.seq, room.accepted) for room in rooms)
    for room in rooms:
        await room.reaches(furthest)


# --- Without a server ----------------------------------------------------------------------------


class Coding(unittest.TestCase):
    """The two codecs, by the page's examples and by the vectors."""

    def test_the_zigzag_code_is_the_one_of_the_page(self) -> None:
        self.assertEqual([zigzag(number) for number in (0, -1, 1, -2, 2)], [0, 1, 2, 3, 4])
        for number in (0, 1, -1, 2**40, -(2**40)):
            self.assertEqual(unzigzag(zigzag(number)), number)

    def test_points_and_pressure_are_coded_as_in_the_example(self) -> None:
        points = [[10, 10], [11.5, 12]]
        self.assertEqual(point_codes(points), [80, 80, 12, 16])
        self.assertEqual(points_of_codes([80, 80, 12, 16]), points)
        self.assertEqual(pack_points(points), bytes.fromhex("50500c10"))
        self.assertEqual(unpack_points(bytes.fromhex("50500c10")), points)
        self.assertEqual(pack_pressure([128, 130]), bytes.fromhex("800204"))
        self.assertEqual(unpack_pressure(bytes.fromhex("800204")), [128, 130])

    def test_points_that_are_cut_off_are_not_read(self) -> None:
        for data in (b"\x80", b"\x02"):
            with self.subTest(data=data), self.assertRaises(ValueError):
                unpack_points(data)

    def test_every_vector_decodes_to_its_json_form(self) -> None:
        for vector in vectors():
            with self.subTest(vector=vector["name"], sender=vector["from"]):
                self.assertEqual(MessagePackCodec.decode(bytes.fromhex(vector["msgpack"])), [vector["json"]])

    def test_every_vector_survives_our_own_coding(self) -> None:
        for vector in vectors():
            for codec in CODECS:
                with self.subTest(vector=vector["name"], sender=vector["from"], codec=codec.__name__):
                    self.assertEqual(codec.decode(codec.encode(vector["json"])), [vector["json"]])


    def test_a_compressed_snapshot_is_the_snapshot(self) -> None:
        for vector in json.loads((VECTORS / "deflate.json").read_text()):
            with self.subTest(vector=vector["name"]):
                self.assertIn(b"snapshot_deflate", bytes.fromhex(vector["msgpack"]))
                self.assertEqual(MessagePackCodec.decode(bytes.fromhex(vector["msgpack"])), [vector["json"]])


def vectors() -> list[JsonObject]:
    """Every vector of the protocol."""
    return [vector for name in ("client", "server") for vector in json.loads((VECTORS / f"{name}.json").read_text())]


class Replicas(unittest.TestCase):
    """What the server cannot be made to send in a test."""

    def test_what_the_room_forgets_is_gone(self) -> None:
        board = Board()
        board.apply(1, "ada", {"type": "add_line", "data": line("l")})
        board.apply(2, "ada", {"type": "delete", "data": {"elements": ["l"]}})
        board.apply(3, NIL, {"type": "forget", "data": {"elements": ["l", "unknown"]}})
        board.apply(4, "ada", {"type": "restore", "data": {"deleted_by": 2}})
        self.assertEqual(board.elements, {})

    def test_ops_of_unknown_types_are_skipped(self) -> None:
        board = Board()
        board.apply(1, "ada", {"type": "fold", "data": {"element": "l"}})
        self.assertEqual(board.elements, {})

    def test_the_pile_is_drawn_by_z_and_then_by_id_without_what_was_deleted(self) -> None:
        board = Board()
        for seq, name in enumerate(("c", "b", "a", "gone"), 1):
            board.apply(seq, "ada", {"type": "add_line", "data": line(name)})
        board.apply(5, "ada", {"type": "reorder", "data": {"elements": ["a", "b"], "z": [0.5, 0.5]}})
        board.apply(6, "ada", {"type": "delete", "data": {"elements": ["gone"]}})
        self.assertEqual([element["element"] for element in board.visible()], ["a", "b", "c"])


# --- With the server -----------------------------------------------------------------------------


class Drawing(ServerCase):
    """Joining a board and drawing on it."""

    async def a_guest_joins_draws_and_sees(self, ada_codec: type, bob_codec: type) -> None:
        """The whole way, of two guests."""
        ada, ada_room = await self.member("Ada", ada_codec)
        bob, bob_room = await self.member("Bob", bob_codec)
        self.assertEqual((ada_room.kind, ada_room.title, ada_room.role), ("board", "Sketches", "owner"))
        self.assertTrue(ada.welcome["user"]["guest"])
        self.assertEqual(ada.welcome["user"]["name"], "Ada")
        self.assertEqual(ada.connection.socket.subprotocol, ada_codec.subprotocol)

        points, pressure = [[10, 10], [11.5, 12], [-40.25, 3]], [0, 128, 255]
        seqs = [
            await ada.submit(ada_room, "add_stroke", stroke("a", points, pressure=pressure)),
            await bob.submit(bob_room, "add_stroke", stroke("b", [[0.5, -0.5]])),
            await ada.submit(
                ada_room,
                "add_text",
                {"element": "c", "color": "#000000", "size": 20, "from": [5, 5], "text": "Grüße\n你好 🎨"},
            ),
        ]
        self.assertEqual(seqs, [1, 2, 3])

        for room in (ada_room, bob_room):
            await room.reaches(3)
            self.assertEqual([op["seq"] for op in room.ops], [1, 2, 3])
            self.assertEqual([op["author"] for op in room.ops], [ada.user, bob.user, ada.user])
            self.assertEqual([op["client"] for op in room.ops], [ada.id, bob.id, ada.id])
            self.assertEqual([op["op_id"] for op in room.ops], [1, 1, 2])
            self.assertEqual([element["element"] for element in room.board.visible()], ["a", "b", "c"])
            self.assertEqual(room.board.elements["a"]["points"], points)
            self.assertEqual(room.board.elements["a"]["pressure"], pressure)
            self.assertEqual(room.board.elements["c"]["text"], "Grüße\n你好 🎨")

    async def test_a_guest_joins_draws_and_sees_its_own_and_anothers_ops(self) -> None:
        await self.a_guest_joins_draws_and_sees(JsonCodec, JsonCodec)

    async def test_a_guest_joins_draws_and_sees_its_own_and_anothers_ops_in_messagepack(self) -> None:
        await self.a_guest_joins_draws_and_sees(MessagePackCodec, MessagePackCodec)

    async def test_a_guest_joins_draws_and_sees_its_own_and_anothers_ops_across_the_codecs(self) -> None:
        await self.a_guest_joins_draws_and_sees(JsonCodec, MessagePackCodec)

    async def test_ops_of_many_at_once_arrive_everywhere_in_one_order(self) -> None:
        ada, ada_room = await self.member("Ada")
        bob, bob_room = await self.member("Bob", MessagePackCodec)
        seqs = await asyncio.gather(
            *(
                client.submit(room, "add_line", line(f"{client.user[:8]}-{number}"))
                for number in range(40)
                for client, room in ((ada, ada_room), (bob, bob_room))
            )
        )
        self.assertEqual(sorted(seqs), list(range(1, 81)))
        for room in (ada_room, bob_room):
            await room.reaches(80)
            self.assertEqual([op["seq"] for op in room.ops], list(range(1, 81)))
        self.assertEqual(ada_room.ops, bob_room.ops)
        self.assertEqual([op["op_id"] for op in ada_room.ops if op["client"] == ada.id], list(range(1, 41)))

    async def test_a_whole_link_is_as_good_as_its_secret(self) -> None:
        link = await self.http.create_link(self.board, "editor")
        _, room = await self.member("Ada", link=link["url"])
        self.assertEqual(room.role, "editor")

    async def test_an_op_over_http_reaches_those_in_the_room(self) -> None:
        _, room = await self.member("Ada", MessagePackCodec)
        op = {"client": str(uuid.uuid4()), "op_id": 1, "op": {"type": "add_line", "data": line("l")}}
        path = f"/api/v1/rooms/{self.board['id']}/ops"
        answers = [await self.http.request("POST", path, op, self.board["link"]) for _ in range(2)]
        self.assertEqual(answers, [{"seq": 1}, {"seq": 1}])
        await room.until(lambda: "l" in room.board.elements)
        history = await self.http.request("GET", f"{path}?after=0&limit=10", link=self.board["link"])
        self.assertEqual((history["first_seq"], len(history["ops"])), (1, 1))

    async def test_a_stroke_whose_pen_never_lifts_is_added_by_the_room(self) -> None:
        ada, ada_room = await self.member("Ada")
        _, bob_room = await self.member("Bob", MessagePackCodec)
        points = [[0, 0], [100, 0], [100, 50.25], [0, 50]]
        for number, at in enumerate((0, 2)):
            piece = {
                "element": "live",
                "color": "#ff0000",
                "width": 2,
                "at": at,
                "points": point_codes(points[at : at + 2]),
            }
            await ada.signal(ada_room, f"stroke.{number}", piece)
        await bob_room.until(lambda: len(bob_room.signals) == 2)
        pieces = sorted((signal["body"] for signal in bob_room.signals), key=lambda body: body["at"])
        self.assertEqual([point for body in pieces for point in points_of_codes(body["points"])], points)

        await ada.leave(ada_room)
        await bob_room.until(lambda: "live" in bob_room.board.elements)
        op = bob_room.ops[-1]
        self.assertEqual((op["author"], op["client"], op["op_id"]), (ada.user, NIL, 0))
        self.assertEqual(bob_room.board.elements["live"]["points"], points)


class ExactlyOnce(ServerCase):
    """No op is lost, and none is applied twice."""

    async def test_an_op_sent_again_under_its_id_gets_the_same_seq_and_is_applied_once(self) -> None:
        ada, room = await self.member("Ada")
        first = await ada.submit(room, "add_line", line("l"))
        self.assertEqual(await ada.submit(room, "add_line", line("l"), op_id=1), first)
        second = await ada.submit(room, "clear", {})
        self.assertEqual(second, first + 1)
        await room.reaches(second)
        self.assertEqual([op["op"]["type"] for op in room.ops], ["add_line", "clear"])

    async def test_an_op_sent_again_over_a_new_connection_and_codec_gets_the_same_seq(self) -> None:
        ada, room = await self.member("Ada")
        first = await ada.submit(room, "add_line", line("l"))
        ada.codec = MessagePackCodec
        await ada.reconnect()
        self.assertEqual(await ada.submit(room, "add_line", line("l"), op_id=1), first)

    async def test_an_op_whose_answer_was_lost_is_answered_after_the_reconnect(self) -> None:
        ada, ada_room = await self.member("Ada")
        _, bob_room = await self.member("Bob")
        submitting = asyncio.create_task(ada.submit(ada_room, "add_line", line("l")))
        await bob_room.until(lambda: "l" in bob_room.board.elements)
        submitting.cancel()
        answers = await ada.reconnect()
        self.assertIn(answers, ({}, {1: 1}), "there is something to send again unless the answer came first")
        self.assertEqual(await ada.submit(ada_room, "add_line", line("m")), 2)

    async def test_an_op_so_old_that_its_answer_is_forgotten_is_refused_and_not_applied(self) -> None:
        ada, room = await self.member("Ada")
        remembered = ada.welcome["limits"]["ops_in_flight"]
        for count in (remembered, 1):
            await asyncio.gather(*(ada.submit(room, "add_line", line(uuid.uuid4().hex)) for _ in range(count)))
        await self.assert_refused("op_expired", ada.submit(room, "clear", {}, op_id=1))
        self.assertEqual(await ada.submit(room, "clear", {}, op_id=2), 2)

    async def test_a_refused_op_has_no_seq(self) -> None:
        ada, room = await self.member("Ada")
        await self.assert_refused("unknown_element", ada.submit(room, "delete", {"elements": ["l"]}))
        self.assertEqual(await ada.submit(room, "add_line", line("l")), 1)


class Rejoining(ServerCase):
    """Coming back."""

    async def test_rejoining_with_since_brings_exactly_what_was_missed(self) -> None:
        for codec in CODECS:
            with self.subTest(codec=codec.__name__):
                self.board = await self.http.create_board("Another")
                ada, ada_room = await self.member("Ada", codec)
                bob, bob_room = await self.member("Bob")
                await ada.submit(ada_room, "add_line", line("seen"))
                await everything_seen(ada_room, bob_room)
                user, position = ada.user, ada_room.position
                await ada.connection.close()
                for name in ("missed-1", "missed-2"):
                    await bob.submit(bob_room, "add_line", line(name))

                await ada.connect()
                self.assertEqual(ada.user, user, "the same guest, by the resume token")
                request = {"room": ada_room.id, "link": self.board["link"], "since": position}
                joined = await ada.connection.request("join", request)
                self.assertNotIn("snapshot", joined)
                self.assertEqual([op["op"]["data"]["element"] for op in joined["ops"]], ["missed-1", "missed-2"])
                self.assertEqual(joined["position"]["seq"], 3)

    async def test_after_a_reconnect_the_board_goes_on_where_it_was(self) -> None:
        ada, ada_room = await self.member("Ada", MessagePackCodec)
        bob, bob_room = await self.member("Bob")
        await ada.submit(ada_room, "add_line", line("a"))
        await ada.connection.close()
        await bob.submit(bob_room, "add_line", line("b"))
        await ada.reconnect()
        self.assertEqual(set(ada_room.board.elements), {"a", "b"})
        await bob.submit(bob_room, "add_line", line("c"))
        await ada_room.until(lambda: "c" in ada_room.board.elements)
        self.assertEqual([op["seq"] for op in ada_room.ops], [1, 2, 3])

    async def test_a_gap_in_the_pushes_is_filled(self) -> None:
        _, ada_room = await self.member("Ada")
        bob, bob_room = await self.member("Bob")
        await bob.submit(bob_room, "add_line", line("a"))
        await ada_room.reaches(1)
        ada_room.seq, ada_room.board, ada_room.ops = 0, Board(), []
        await bob.submit(bob_room, "add_line", line("b"))
        await ada_room.reaches(2)
        self.assertEqual(set(ada_room.board.elements), {"a", "b"})

    async def test_a_position_of_another_history_brings_a_snapshot(self) -> None:
        ada, room = await self.member("Ada")
        await ada.submit(room, "add_line", line("l"))
        request = {"room": room.id, "link": room.link, "since": {"epoch": room.epoch + 1, "seq": 1}}
        self.assertIn("snapshot", await ada.connection.request("join", request))

    async def test_what_was_left_sends_nothing_more(self) -> None:
        ada, ada_room = await self.member("Ada")
        bob, bob_room = await self.member("Bob")
        await ada.leave(ada_room)
        await self.assert_refused("not_joined", ada.submit(ada_room, "add_line", line("l")))
        await bob.submit(bob_room, "add_line", line("l"))
        await ada.join(self.board["id"], self.board["link"])
        self.assertEqual(ada_room.seq, 0)

    async def test_a_resume_token_that_does_not_hold_gives_way_to_the_guest(self) -> None:
        connection = await self.connection()
        welcome = await connection.request("hello", hello(resume="long ago", guest={"name": "Ada"}))
        self.assertEqual(welcome["user"]["name"], "Ada")


class Signals(ServerCase):
    """Signals and presence."""

    async def test_a_signal_reaches_the_other_across_the_codecs(self) -> None:
        ada, ada_room = await self.member("Ada")
        bob, bob_room = await self.member("Bob", MessagePackCodec)
        bodies = ({"x": 1, "y": -2.5}, None, {"client": ada.id, "points": [1, 2], "deep": [[{"id": "é"}]]})
        for sender, room, other in ((ada, ada_room, bob_room), (bob, bob_room, ada_room)):
            for number, body in enumerate(bodies):
                with self.subTest(sender=sender.welcome["user"]["name"], body=body):
                    key = f"test.{number}"
                    await sender.signal(room, key, body)
                    wanted = {"author": sender.user, "client": sender.id, "key": key, "body": body}
                    for seer in (other, room):
                        await seer.until(functools.partial(operator.contains, seer.signals, wanted))

    async def test_signals_leave_no_trace_in_the_history(self) -> None:
        ada, room = await self.member("Ada")
        await ada.signal(room, "cursor", {"x": 1, "y": 2})
        await room.until(lambda: room.signals)
        self.assertEqual(await ada.submit(room, "add_line", line("l")), 1)

    async def test_presence_tells_who_comes(self) -> None:
        ada, ada_room = await self.member("Ada")
        self.assertEqual(ada_room.members, {ada.user: {"id": ada.user, "name": "Ada", "role": "owner"}})
        link = await self.http.create_link(self.board, "viewer")
        bob, bob_room = await self.member("Bob", MessagePackCodec, link["link"])
        await ada_room.until(lambda: bob.user in ada_room.members)
        self.assertEqual(ada_room.members[bob.user], {"id": bob.user, "name": "Bob", "role": "viewer"})
        self.assertEqual(ada_room.count, 2)
        self.assertEqual(bob_room.members, ada_room.members)

    async def test_a_reload_is_not_a_farewell(self) -> None:
        _, ada_room = await self.member("Ada")
        bob, _ = await self.member("Bob")
        await ada_room.until(lambda: bob.user in ada_room.members)
        await bob.reconnect()
        self.assertIn(bob.user, ada_room.members)
        self.assertEqual(ada_room.count, 2)


class Permissions(ServerCase):
    """Who may do what."""

    async def test_viewers_see_everything_and_change_nothing(self) -> None:
        ada, ada_room = await self.member("Ada")
        link = await self.http.create_link(self.board, "viewer")
        for codec in CODECS:
            with self.subTest(codec=codec.__name__):
                viewer, room = await self.member("Vera", codec, link["link"])
                self.assertEqual(room.role, "viewer")
                await self.assert_refused("forbidden", viewer.submit(room, "add_line", line("l")))
                await viewer.signal(room, "cursor", {"x": 1, "y": 2})
                self.assertEqual((await viewer.connection.push("error"))["code"], "forbidden")
                seq = await ada.submit(ada_room, "add_line", line(uuid.uuid4().hex))
                for seer in (room, ada_room):
                    await seer.reaches(seq)
                self.assertEqual(room.board.elements, ada_room.board.elements)
        op = {"client": str(uuid.uuid4()), "op_id": 1, "op": {"type": "clear", "data": {}}}
        path = f"/api/v1/rooms/{self.board['id']}/ops"
        await self.assert_refused("forbidden", self.http.request("POST", path, op, link["link"]))

    async def test_editors_draw_but_do_not_share(self) -> None:
        link = await self.http.create_link(self.board, "editor")
        bob, room = await self.member("Bob", link=link["link"])
        self.assertEqual(room.role, "editor")
        self.assertEqual(await bob.submit(room, "add_line", line("l")), 1)
        await self.assert_refused(
            "forbidden", self.http.create_link(self.board | link | {"id": self.board["id"]}, "editor")
        )

    async def test_a_room_is_not_for_those_who_have_no_link(self) -> None:
        ada = await self.guest("Ada")
        await self.assert_refused("room_not_found", ada.join(self.board["id"]))
        await self.assert_refused("room_not_found", ada.join(str(uuid.uuid4())))
        await self.assert_refused("link_invalid", ada.join(self.board["id"], "q1w2"))

    async def test_revoking_a_link_closes_the_connections_that_came_through_it(self) -> None:
        link = await self.http.create_link(self.board, "editor")
        bob, _ = await self.member("Bob", link=link["link"])
        path = f"/api/v1/rooms/{self.board['id']}/links/{link['id']}"
        await self.http.request("DELETE", path, link=self.board["link"])
        await self.assert_closed(bob.connection, 4502, "access_revoked")

    async def test_an_element_of_another_is_not_overwritten(self) -> None:
        ada, ada_room = await self.member("Ada")
        bob, bob_room = await self.member("Bob")
        await ada.submit(ada_room, "add_line", line("l"))
        await self.assert_refused("element_exists", bob.submit(bob_room, "add_line", line("l")))
        await ada.submit(ada_room, "add_line", line("l", color="#ff0000"))
        await bob_room.reaches(2)
        self.assertEqual(bob_room.board.elements["l"]["color"], "#ff0000")

    async def test_only_the_room_forgets(self) -> None:
        ada, room = await self.member("Ada")
        await ada.submit(room, "add_line", line("l"))
        await self.assert_refused("forbidden", ada.submit(room, "forget", {"elements": ["l"]}))


class Errors(ServerCase):
    """Bad input: errors with a code, and closes with a code."""

    async def test_the_first_message_must_be_hello(self) -> None:
        connection = await self.connection()
        await self.assert_refused("hello_required", connection.request("join", {"room": self.board["id"]}))

    async def test_a_hello_that_says_nothing_of_who_is_there_is_closed(self) -> None:
        for codec in CODECS:
            with self.subTest(codec=codec.__name__):
                connection = await self.connection(codec)
                await self.assert_refused("unauthenticated", connection.request("hello", hello(token=None)))
                await self.assert_closed(connection, 4500, "unauthenticated")

    async def test_a_token_and_a_resume_token_that_do_not_hold_are_closed(self) -> None:
        for field, code in (("token", "unauthenticated"), ("resume", "resume_expired")):
            with self.subTest(field=field):
                connection = await self.connection()
                await self.assert_refused(code, connection.request("hello", hello(**{field: "nonsense"})))
                await self.assert_closed(connection, 4500, "unauthenticated")

    async def test_a_hello_without_a_client_is_refused(self) -> None:
        connection = await self.connection()
        await self.assert_refused("invalid_request", connection.request("hello", {"guest": {"name": "Ada"}}))

    async def test_who_never_says_hello_is_closed(self) -> None:
        await self.assert_closed(await self.connection(), 4004, "hello_timeout")

    async def test_hello_is_said_once(self) -> None:
        connection = await self.greeted()
        await self.assert_refused("hello_repeated", connection.request("hello", hello()))

    async def test_an_unknown_type_is_answered_and_the_connection_goes_on(self) -> None:
        for codec in CODECS:
            with self.subTest(codec=codec.__name__):
                connection = await self.greeted(codec)
                await self.assert_refused("unknown_type", connection.request("dance", {}))
                await connection.send("dance", {})
                self.assertEqual((await connection.push("error"))["code"], "unknown_type")
                await self.assert_alive(connection)

    async def test_a_malformed_frame_is_answered_and_the_connection_goes_on(self) -> None:
        malformed = {
            JsonCodec: ["{", "1", "{}", '[{"id":1}]', ""],
            MessagePackCodec: [b"\xc1", b"\x01", b"\x90\x90", b"\x93", b""],
        }
        for codec, frames in malformed.items():
            connection = await self.greeted(codec)
            for frame in frames:
                with self.subTest(codec=codec.__name__, frame=frame):
                    await connection.send_raw(frame)
                    self.assertEqual((await connection.push("error"))["code"], "malformed_frame")
            await self.assert_alive(connection)

    async def test_sixteen_malformed_frames_in_a_row_are_closed(self) -> None:
        connection = await self.greeted()
        for _ in range(15):
            await connection.send_raw("{")
        await self.assert_alive(connection)
        for _ in range(16):
            await connection.send_raw("{")
        await self.assert_closed(connection, 4602, "malformed")

    async def test_a_frame_has_as_many_messages_as_the_limit_says(self) -> None:
        connection = await self.greeted()
        pong = {"type": "pong", "data": {}}
        await connection.send_raw(json.dumps([pong] * 256))
        await self.assert_alive(connection)
        await connection.send_raw(json.dumps([pong] * 257))
        self.assertEqual((await connection.push("error"))["code"], "malformed_frame")

    async def test_an_oversized_frame_is_closed(self) -> None:
        for codec in CODECS:
            with self.subTest(codec=codec.__name__):
                ada = await self.guest("Ada", codec)
                frame = b"x" * (ada.welcome["limits"]["frame_bytes"] + 1)
                await ada.connection.send_raw(frame.decode() if codec is JsonCodec else frame)
                await self.assert_closed(ada.connection, 4601, "frame_too_large")

    async def test_a_frame_as_large_as_the_limit_is_taken(self) -> None:
        ada = await self.guest("Ada")
        pong = '{"type":"pong","data":{}}'
        await ada.connection.send_raw(pong.ljust(ada.welcome["limits"]["frame_bytes"]))
        await self.assert_alive(ada.connection)

    async def test_what_needs_a_room_needs_to_have_joined_it(self) -> None:
        connection = await self.greeted()
        room = self.board["id"]
        submit = {"room": room, "op_id": 1, "op": {"type": "clear", "data": {}}}
        await self.assert_refused("not_joined", connection.request("submit", submit))
        await connection.send("signal", {"room": room, "key": "cursor", "body": None})
        self.assertEqual((await connection.push("error"))["code"], "not_joined")

    async def test_ops_that_make_no_sense_are_refused(self) -> None:
        ada, room = await self.member("Ada")
        await ada.submit(room, "add_line", line("l"))
        bad: list[tuple[str, str, JsonObject]] = [
            ("invalid_request", "dance", {}),
            ("invalid_request", "add_line", line("m", width=0.2)),
            ("invalid_request", "add_line", line("m", color="red")),
            ("invalid_request", "add_line", line("m", to=[1_000_001, 0])),
            ("invalid_request", "add_line", line("not an id")),
            ("invalid_request", "add_stroke", stroke("m", [])),
            (
                "invalid_request",
                "add_note",
                {"element": "m", "color": "#ffffff", "bounds": [0, 0, 1, 1], "text": "x" * 4001},
            ),
            ("unknown_element", "change", {"element": "m", "from": [0, 0]}),
            ("unknown_element", "move", {"elements": ["m"], "offsets": [[0, 0]]}),
            ("invalid_op", "restore", {"deleted_by": 1}),
        ]
        for code, kind, data in bad:
            with self.subTest(kind=kind, data=data):
                await self.assert_refused(code, ada.submit(room, kind, data))
                seq = await ada.submit(room, "move", {"elements": ["l"], "offsets": [[0, 0]]})
                await room.reaches(seq)
        self.assertEqual({op["op"]["type"] for op in room.ops}, {"add_line", "move"})

    async def test_signals_that_make_no_sense_are_refused(self) -> None:
        ada, room = await self.member("Ada")
        for key, body in (
            ("not a key", 1),
            ("k" * 33, 1),
            ("", 1),
            ("k", "x" * 4097),
            ("k", json.loads("[" * 9 + "]" * 9)),
        ):
            with self.subTest(key=key):
                await ada.signal(room, key, body)
                self.assertEqual((await ada.connection.push("error"))["code"], "invalid_request")

    async def test_messages_are_for_chat_rooms(self) -> None:
        ada, room = await self.member("Ada")
        message = {"room_id": room.id, "content": "hi"}
        await self.assert_refused("wrong_kind", ada.connection.request("message", message))

    async def test_a_flood_of_ops_is_told_to_come_back(self) -> None:
        ada, room = await self.member("Ada")
        submits = (ada.submit(room, "add_line", line(f"l{number}")) for number in range(600))
        results = await asyncio.gather(*submits, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Refused)]
        self.assertTrue(refused)
        self.assertLessEqual({refusal.code for refusal in refused}, {"busy", "rate_limited"})
        self.assertTrue(all(refusal.retry_after_ms for refusal in refused))

    async def assert_alive(self, connection: Connection) -> None:
        """The connection still answers."""
        await connection.request("join", {"room": self.board["id"], "link": self.board["link"]})
        await connection.request("leave", {"room": self.board["id"]})


# --- Random boards -------------------------------------------------------------------------------


class Scribbler:
    """Somebody who does everything that can be done on a board, by chance."""

    KINDS = (
        *("add_stroke", "add_line", "add_arrow", "add_rectangle", "add_ellipse", "add_text", "add_note"),
        *("change", "move", "restyle", "reorder", "delete", "restore", "clear"),
    )
    WEIGHTS = (8, 4, 4, 4, 4, 4, 4, 16, 12, 12, 12, 10, 8, 1)

    COORDINATES = {
        "line": ("from", "to"),
        "arrow": ("from", "to"),
        "rectangle": ("bounds",),
        "ellipse": ("bounds",),
        "text": ("from",),
        "note": ("bounds",),
    }
    """The coordinates of each type of element, a stroke's points excepted."""

    def __init__(self, client: Client, room: Room, seed: int):
        self.client = client
        self.room = room
        self.random = random.Random(seed)
        self.refusals: collections.Counter[str] = collections.Counter()

    def plan(self, count: int) -> list[str]:
        """The types of the ops to come, every type among them."""
        plan = [*self.KINDS, *self.random.choices(self.KINDS, self.WEIGHTS, k=count - len(self.KINDS))]
        self.random.shuffle(plan)
        return plan

    async def scribble(self, kind: str) -> None:
        """Submit one op; that it may come to nothing is part of the game."""
        try:
            seq = await self.client.submit(self.room, kind, self._data(kind))
            await self.room.reaches(seq)
        except Refused as refused:
            self.refusals[refused.code] += 1

    def _data(self, kind: str) -> JsonObject:
        chance, board = self.random, self.room.board
        if kind.startswith("add_"):
            return {"element": self._name(), "color": self._color(), **self._shape(kind.removeprefix("add_"))}
        if kind == "change":
            known = list(board.elements.values())
            element = chance.choice(known) if known else {"element": "none", "type": "line"}
            shape = self._shape(element["type"])
            new = {
                name: shape[name]
                for name in ("points", "pressure", *self.COORDINATES.get(element["type"], ()), "text")
                if name in shape
            }
            return {"element": element["element"]} | new
        if kind == "restore":
            deletions = [element["deleted_by"] for element in board.elements.values() if "deleted_by" in element]
            return {"deleted_by": chance.choice(deletions) if deletions else 1}
        if kind == "clear":
            return {}
        names = chance.sample([*board.elements, "unknown"], k=min(chance.randint(1, 4), len(board.elements) + 1))
        data: JsonObject = {"elements": names}
        if kind == "move":
            data["offsets"] = [[0, 0] if chance.random() < 0.1 else self._point() for _ in names]
        elif kind == "reorder":
            data["z"] = [chance.choice((-1, 1)) * chance.randint(0, 400) / 8 for _ in names]
        elif kind == "restyle":
            styles = {"color": self._color(), "width": self._size(), "size": self._size(), "fill": self._fill()}
            data |= dict(chance.sample(sorted(styles.items()), k=chance.randint(1, 4)))
        return data

    def _shape(self, kind: str) -> JsonObject:
        """What an element of a type has besides its id and colour."""
        chance = self.random
        if kind == "stroke":
            points = [self._point() for _ in range(chance.randint(1, 40))]
            pressed = {"pressure": [chance.randint(0, 255) for _ in points]} if chance.random() < 0.5 else {}
            return {"width": self._size(), "points": points} | pressed
        shape: JsonObject = {}
        for name in self.COORDINATES[kind]:
            shape[name] = (
                self._point() if name != "bounds" else self._point() + [abs(number) for number in self._point()]
            )
        if kind in ("text", "note"):
            shape["text"] = "".join(chance.choices("ab ü你🎨\n", k=chance.randint(1, 60)))
        if kind == "text":
            shape["size"] = self._size()
        elif kind != "note":
            shape["width"] = self._size()
        if kind in ("rectangle", "ellipse") and chance.random() < 0.5:
            shape["fill"] = self._fill()
        return shape

    def _name(self) -> str:
        """Mostly a new id, sometimes one that is there: one's own, or another's."""
        known = list(self.room.board.elements)
        if known and self.random.random() < 0.15:
            return self.random.choice(known)
        return f"e{self.random.getrandbits(60):x}"

    def _point(self) -> list[float]:
        reach = self.random.choice((10, 1000, 1_000_000))
        return [round(self.random.uniform(-reach, reach), 3) for _ in range(2)]

    def _size(self) -> float:
        return round(self.random.uniform(0.25, 400), 3)

    def _color(self) -> str:
        return f"#{self.random.getrandbits(24):06x}"

    def _fill(self) -> str:
        return self.random.choice(("#00000000", f"#{self.random.getrandbits(32):08x}"))


def single(value: Any) -> Any:
    """The same with widths and sizes in single precision.

    JSON writes them as the shortest decimal numbers that mean the same in single precision, MessagePack as they are.
    """
    if isinstance(value, dict):
        singles = {
            name: struct.unpack("f", struct.pack("f", value[name]))[0] for name in ("width", "size") if name in value
        }
        return {name: single(item) for name, item in value.items()} | singles
    return [single(item) for item in value] if isinstance(value, list) else value


class Audiences(ServerCase):
    """Those who only watch: counted, not listed."""

    async def watcher(self, codec: type = JsonCodec, link: str | None = None) -> tuple[Client, Room]:
        """Somebody without a name who watches the board."""
        client = await self.enterAsyncContext(Client(self.server.base, codec=codec, audience=True))
        return client, await client.join(self.board["id"], link or self.board["link"])

    async def test_an_audience_is_counted_and_sees_everything(self) -> None:
        ada, ada_room = await self.member("Ada")
        watchers = [await self.watcher(codec) for codec in (*CODECS, *CODECS)]
        for client, room in watchers:
            self.assertNotIn("user", client.welcome)
            self.assertNotIn("resume", client.welcome)
            self.assertEqual(room.role, "viewer", "whatever the link allows")
        await ada_room.until(lambda: ada_room.audience == 4)
        self.assertEqual((ada_room.count, list(ada_room.members)), (1, [ada.user]))
        await ada.submit(ada_room, "add_line", line("l"))
        for _, room in watchers:
            await room.reaches(1)
            self.assertEqual((room.count, list(room.members)), (1, [ada.user]))
        for client, _ in watchers[1:]:
            await client.close()
        await ada_room.until(lambda: ada_room.audience == 1)
        self.assertEqual(ada_room.count, 1)

    async def test_an_audience_changes_nothing(self) -> None:
        client, room = await self.watcher()
        await self.assert_refused("forbidden", client.submit(room, "add_line", line("l")))
        signal = {"room": room.id, "key": "cursor", "body": None}
        await self.assert_refused("forbidden", client.connection.request("signal", signal))
        await self.assert_refused("unauthenticated", client.connection.request("refresh", {"token": "t"}))
        await client.connection.request("read", {"room": room.id, "seq": 0})
        await client.connection.request("activity", {"active": False})
        await client.reconnect()
        self.assertEqual(room.role, "viewer")

    async def test_a_bad_token_makes_nobody_an_audience(self) -> None:
        connection = await self.connection()
        await self.assert_refused("unauthenticated", connection.request("hello", hello(audience=True, token="bad")))

    async def test_an_audience_needs_a_link(self) -> None:
        client = await self.enterAsyncContext(Client(self.server.base, audience=True))
        await self.assert_refused("room_not_found", client.join(self.board["id"]))


class LargeSnapshots(ServerCase):
    """Snapshots that are worth compressing, and those over HTTP."""

    async def draw(self, count: int) -> Room:
        """A board with so many lines, on a server that has just woken up."""
        ada, room = await self.member("Ada")
        for number in range(count):
            await ada.submit(room, "add_line", line(f"line-{number}"))
        await room.reaches(count)
        await ada.close()
        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(self.server.start)
        return room

    async def test_a_large_snapshot_comes_compressed_to_those_who_asked(self) -> None:
        drawn = await self.draw(200)
        join = {"room": self.board["id"], "link": self.board["link"]}
        for compression, field in ((["deflate"], "snapshot_deflate"), (["later", "deflate"], "snapshot_deflate"), ([], "snapshot")):
            connection = await self.connection(RawMessagePack)
            await connection.request("hello", hello(guest={"name": "Bob"}, compression=compression))
            joined = await connection.request("join", join)
            self.assertEqual({name for name in joined if name.startswith("snapshot")}, {field})
        _, room = await self.member("Cy", MessagePackCodec)
        self.assertEqual(single(room.board.elements), single(drawn.board.elements))

    async def test_a_snapshot_over_http_is_where_a_join_goes_on_from(self) -> None:
        drawn = await self.draw(200)
        place, snapshot = await self.http.latest_snapshot(self.board)
        self.assertNotIn(self.board["link"], place)
        self.assertEqual(single(Board(snapshot["elements"]).elements), single(drawn.board.elements))
        epoch, seq = map(int, place.split("?")[0].rsplit("/", 1)[1].split("-"))
        client = await self.guest("Bob")
        since = {"epoch": epoch, "seq": seq}
        join = {"room": self.board["id"], "link": self.board["link"], "since": since}
        joined = await client.connection.request("join", join)
        self.assertEqual((seq, joined.get("snapshot"), joined.get("ops", [])), (200, None, []))


class RawMessagePack(MessagePackCodec):
    """Messages as they travel."""

    @classmethod
    def _unpack(cls, value: Any, name: str = "") -> Any:
        return value


class RandomBoards(ServerCase):
    """Replicas that apply ops, snapshots that the server makes: all the same."""

    async def scribbled(self, seed: int) -> tuple[Room, Room]:
        """A board on which two people scribbled in turn, as both of them see it."""
        ada, ada_room = await self.member("Ada")
        bob, bob_room = await self.member("Bob", MessagePackCodec)
        scribblers = [Scribbler(ada, ada_room, seed), Scribbler(bob, bob_room, seed + 1)]
        for kinds in zip(*(scribbler.plan(180) for scribbler in scribblers), strict=True):
            for scribbler, kind in zip(scribblers, kinds, strict=True):
                await scribbler.scribble(kind)
                await everything_seen(ada_room, bob_room)
        refusals = scribblers[0].refusals + scribblers[1].refusals
        self.assertLessEqual(set(refusals), {"unknown_element", "element_exists", "invalid_op"})
        self.assertEqual({op["op"]["type"] for op in ada_room.ops}, set(Scribbler.KINDS), "every kind was applied")
        self.assertEqual(single(ada_room.ops), single(bob_room.ops))
        return ada_room, bob_room

    async def test_applying_ops_gives_what_a_newcomers_snapshot_has(self) -> None:
        for seed in (1, 20, 300):
            with self.subTest(seed=seed):
                self.board = await self.http.create_board("Another")
                ada_room, bob_room = await self.scribbled(seed)
                wanted = single(ada_room.board.elements)
                self.assertEqual(single(bob_room.board.elements), wanted)
                for codec in CODECS:
                    _, room = await self.member("Cy", codec)
                    self.assertEqual(room.position, ada_room.position)
                    self.assertEqual(single(room.board.elements), wanted)

                path = f"/api/v1/rooms/{self.board['id']}/snapshot"
                answer = await self.http.request("GET", path, link=self.board["link"])
                self.assertEqual(answer["position"], ada_room.position)
                self.assertEqual(answer["snapshot"]["seq"], ada_room.seq)
                self.assertEqual(single(Board(answer["snapshot"]["elements"]).elements), wanted)

    async def test_applying_ops_gives_what_the_server_has_after_a_restart(self) -> None:
        ada_room, _ = await self.scribbled(seed=4000)
        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(self.server.start)
        for codec in CODECS:
            _, room = await self.member("Cy", codec)
            self.assertEqual(room.seq, ada_room.seq)
            self.assertEqual(single(room.board.elements), single(ada_room.board.elements))


class Restarts(ServerCase):
    """What was accepted is there for good."""

    async def test_what_was_accepted_survives_a_killed_server(self) -> None:
        ada, ada_room = await self.member("Ada", MessagePackCodec)
        user, epoch = ada.user, ada_room.epoch
        for number in range(50):
            await ada.submit(ada_room, "add_line", line(f"l{number}"))
        await ada.submit(ada_room, "move", {"elements": ["l7"], "offsets": [[1.5, -2]]})
        await ada_room.reaches(51)
        await asyncio.to_thread(self.server.kill)
        await ada.connection.closed()
        await asyncio.to_thread(self.server.start)

        await ada.reconnect()
        self.assertEqual(ada.user, user)
        self.assertGreater(ada_room.epoch, epoch)
        self.assertEqual(await ada.submit(ada_room, "add_line", line("l0"), op_id=1), 1)
        self.assertEqual(await ada.submit(ada_room, "add_line", line("after")), 52)
        await ada_room.reaches(52)
        for codec in CODECS:
            _, room = await self.member("Bob", codec)
            self.assertEqual(room.board.elements, ada_room.board.elements)

    async def test_a_server_that_stops_says_so(self) -> None:
        ada = await self.guest("Ada")
        await asyncio.to_thread(self.server.stop)
        self.addAsyncCleanup(asyncio.to_thread, self.server.start)
        await self.assert_closed(ada.connection, 4000, "going_away")


if __name__ == "__main__":
    unittest.main()
