# SPDX-License-Identifier: MIT
"""What ingest makes of cameras, as a bus client in another language sees it: tracks, times, groups, epochs."""
import contextlib
import time

import pytest

from busclient import Bus, CallFailed, event_of, events, ingest_pb2 as pb
from harness import SLOW, Camera, Room, until
from rtspserver import RtspServer


class Watcher:
    """A lease on a stream and what its own socket brings."""

    def __init__(self, bus, host, stream="cam"):
        self.bus, self.stream, self.lease = bus, stream, f"test-{time.monotonic_ns()}"
        self.info = self.watch().info
        self.stack = contextlib.ExitStack()
        url = self.info.event_url.replace("*", host)
        self.sub = self.stack.enter_context(events(url, f"media/{stream}\0".encode(), f"stream/{stream}\0".encode()))

    def watch(self, group=False):
        return self.bus.call("Ingest/Watch", pb.WatchRequest(stream=self.stream, lease=self.lease, lease_ms=60000, group=group),
                             pb.WatchResponse)

    def groups(self, **kw):
        return self.bus.call("Ingest/Groups", pb.GroupsRequest(stream=self.stream, **kw), pb.GroupsResponse)

    def live(self, seconds=20):
        """StreamInfo once it is live."""
        def look():
            self.info = self.watch().info
            return self.info.state == pb.STREAM_STATE_LIVE and self.info
        return until(look, seconds, "the stream is live")

    def frames(self, enough, seconds=20):
        """MediaFrames as they come, until enough(frames) holds."""
        got, end = [], time.monotonic() + seconds * SLOW
        while not enough(got):
            assert time.monotonic() < end, f"{len(got)} frames, the last {got[-1] if got else None}"
            topic, e = event_of(self.sub.recv())
            if topic.startswith("media/"):
                got.append(e.media)
        return got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()
        self.bus.call("Ingest/Unwatch", pb.UnwatchRequest(stream=self.stream, lease=self.lease), pb.UnwatchResponse)


@contextlib.contextmanager
def room_of(cam, data=""):
    config = f"streams: {{ cam: {{ url: '{cam.url}', linger: 1s }} }}\n"
    with Room("split", config=config) as r, Bus(r.bus["ingest"][0]) as bus:
        yield r, bus


def tracks_of(info):
    return [(pb.Codec.Name(t.codec)[6:], t.rendition) for t in info.tracks]


def check_line(frames, scales):
    """Numbers and times are what the contract says."""
    last, seq, gop, start = {}, {}, 0, {}
    for f in frames:
        assert f.time_us == f.pts * 1000000 // scales[f.track], f
        assert f.pts >= f.dts > last.get(f.track, -1), f
        assert f.gop >= gop and f.seq == seq.get(f.epoch, f.seq), f
        if f.gop > gop and f.key and f.track == 1:
            assert f.time_us >= start.get("us", 0)
            start["us"] = f.time_us
        last[f.track], seq[f.epoch], gop = f.dts, f.seq + 1, f.gop
        assert abs(f.time_us - f.arrival_us) < 60e6, "the line begins at the wall clock"


def nals(data):
    at, types = 0, []
    while at < len(data):
        n = int.from_bytes(data[at:at + 4], "big")
        types.append(data[at + 4] >> 1 & 63)
        at += 4 + n
    assert at == len(data)
    return types


def test_h265_and_opus_pass_in_their_stored_form():
    with Camera("--codec", "h265", "--audio", "opus", "--gop", "25") as cam, room_of(cam) as (r, bus), \
            Watcher(bus, "127.0.0.1") as w:
        info = w.live()
        assert tracks_of(info) == [("H265", ""), ("OPUS", "")]
        video, audio = info.tracks
        assert (video.kind, audio.kind) == (pb.TRACK_KIND_VIDEO, pb.TRACK_KIND_AUDIO)
        assert (video.width, video.height, video.timescale) == (640, 360, 90000)
        assert video.codec_string.startswith("hvc1.1.6.L") and video.config[0] == 1 and video.config[22] == 3
        assert audio.codec_string == "opus" and audio.timescale == 48000 and len(audio.config) == 11
        frames = w.frames(lambda got: sum(f.key and f.track == 1 for f in got) >= 3)
        check_line(frames, {1: 90000, 2: 48000})
        for f in frames:
            if f.track == 1:
                types = nals(f.data)
                assert not {32, 33, 34, 35, 38} & set(types), types
                assert f.key == any(16 <= t <= 23 for t in types)
            else:
                assert f.duration == 960 and f.key


def test_g711_passes_with_an_aac_rendition_beside_it():
    with Camera("--audio", "pcma", "--gop", "25") as cam, room_of(cam) as (r, bus), Watcher(bus, "127.0.0.1") as w:
        info = w.live()
        assert tracks_of(info) == [("H264", ""), ("G711A", ""), ("AAC", "aac")]
        assert info.tracks[2].made_from == info.tracks[1].track == 2 and info.tracks[1].timescale == 8000
        frames = w.frames(lambda got: sum(f.key and f.track == 1 for f in got) >= 3)
        check_line(frames, {1: 90000, 2: 8000, 3: 48000})
        source = [f for f in frames if f.track == 2]
        made = [f for f in frames if f.track == 3]
        assert all(f.duration == len(f.data) for f in source)
        assert abs(source[-1].time_us - made[-1].time_us) < 300000


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_h265_by_libavformat_too(transport):
    """UDP is libavformat's: the same tracks."""
    with Camera("--codec", "h265", "--audio", "opus", "--gop", "25", "--transport", transport) as cam:
        config = f"streams: {{ cam: {{ url: '{cam.url}', transport: {transport} }} }}\n"
        with Room("split", config=config) as r, Bus(r.bus["ingest"][0]) as bus, Watcher(bus, "127.0.0.1") as w:
            assert tracks_of(w.live()) == [("H265", ""), ("OPUS", "")]


def test_promised_sound_that_never_comes_does_not_hold_the_picture():
    with RtspServer() as cam, room_of(cam) as (r, bus), Watcher(bus, "127.0.0.1") as w:
        cam.await_request("PLAY")
        began = time.monotonic()
        assert tracks_of(w.live()) == [("H264", "")]
        assert time.monotonic() - began < 4 * SLOW
        frames = w.frames(lambda got: sum(f.key for f in got) >= 3)
        assert len({f.epoch for f in frames}) == 1 and {f.track for f in frames} == {1}


def test_late_sound_joins_and_silent_sound_leaves_by_a_new_epoch():
    with RtspServer(sound=(2, 5)) as cam, room_of(cam) as (r, bus), Watcher(bus, "127.0.0.1") as w:
        assert tracks_of(w.live()) == [("H264", "")]
        seen = {}

        def is_over(got):
            if got:
                seen.setdefault(got[-1].epoch, set()).add(got[-1].track)
            sets = list(seen.values())
            return {1, 2, 3} in sets and sets[-1] == {1} and sum(f.key and f.epoch == got[-1].epoch for f in got) > 1

        frames = w.frames(is_over, 40)
        check_line(frames, {1: 90000, 2: 8000, 3: 48000})
        epochs = list(seen)
        assert epochs == sorted(epochs) and seen[epochs[0]] == {1} and len(epochs) <= 5, seen
        for e in epochs[1:]:
            first = next(f for f in frames if f.epoch == e)
            assert first.key and first.track == 1 and first.seq == 0
        # The picture went on without a hole.
        times = [f.dts for f in frames if f.track == 1]
        assert {b - a for a, b in zip(times, times[1:])} == {3600}
        # What is kept reaches over epochs, each with its tracks.
        g = w.groups()
        told = {e.epoch: {t.track for t in e.tracks} for e in g.epochs}
        assert all(told[e] == seen[e] for e in epochs if e in told) and len(told) >= 3
        assert [x.gop for x in g.groups] == list(range(g.oldest_gop, g.newest_gop + 1))


def test_kept_groups_are_what_was_published_and_the_line_goes_on_over_kill_and_restart():
    with Camera("--gop", "25") as cam, room_of(cam) as (r, bus):
        with Watcher(bus, "127.0.0.1") as w:
            w.live()
            heard = {(f.epoch, f.seq): f.SerializeToString() for f in
                     w.frames(lambda got: sum(f.key and f.track == 1 for f in got) >= 4)}
            page = w.groups(max_groups=2)
            kept = [f for g in page.groups for f in g.frames]
            while page.next_gop:
                page = w.groups(from_gop=page.next_gop, max_groups=1)
                kept += [f for g in page.groups for f in g.frames]
            assert len(kept) == len({(f.epoch, f.seq) for f in kept})
            same = [f for f in kept if (f.epoch, f.seq) in heard]
            assert len(same) > 60 and all(f.SerializeToString() == heard[f.epoch, f.seq] for f in same)
            with pytest.raises(CallFailed, match="no rendition"):
                w.groups(rendition="720p")
            newest = kept[-1]
        r.processes["ingest"].kill()
        r.processes["ingest"].start()
        # A new life of the process: times, groups and epochs are above all that was given out before.
        with Bus(r.bus["ingest"][0]) as again, Watcher(again, "127.0.0.1") as w:
            w.live()
            f = w.frames(lambda got: any(f.track == 1 for f in got))[0]
            assert f.time_us > newest.time_us and f.gop > newest.gop and f.epoch > newest.epoch


def test_streams_come_and_go_while_ingest_runs():
    with Camera("--gop", "25") as cam, Camera("--gop", "25", "--audio", "none") as other, room_of(cam) as (r, bus):
        bus.call("Ingest/AddStream", pb.AddStreamRequest(stream="door", url=other.url), pb.AddStreamResponse)
        with pytest.raises(CallFailed, match="already"):
            bus.call("Ingest/AddStream", pb.AddStreamRequest(stream="door", url=other.url), pb.AddStreamResponse)
        with pytest.raises(CallFailed, match="must begin with"):
            bus.call("Ingest/AddStream", pb.AddStreamRequest(stream="bad", url="file:///etc/passwd"), pb.AddStreamResponse)
        with Watcher(bus, "127.0.0.1", "door") as w:
            assert tracks_of(w.live()) == [("H264", "")]
            bus.call("Ingest/RemoveStream", pb.RemoveStreamRequest(stream="door"), pb.RemoveStreamResponse)
        listed = bus.call("Ingest/Streams", pb.StreamsRequest(), pb.StreamsResponse).streams
        assert [s.stream for s in listed] == ["cam"]
