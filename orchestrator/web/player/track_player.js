// One track: a media element fed through Media Source Extensions, whatever container its runs are in.

import { firstSegment, nextStart, segmentsOf, spanAt, spansOf } from "./timeline.js";

const AHEAD_S = 20; // fetched before it is needed
const BEHIND_S = 10; // kept after it was shown
const FETCH_BYTES = 2 * 1024 * 1024; // in one request, unless a segment is larger
const NEAR_S = 3; // a span that begins so soon is fetched already
const DRIFT_S = 0.15; // further off the others it is put right by a seek, nearer by its speed
const SLACK_S = 0.04;

export class TrackPlayer {
  /** Make a player; `open` makes it ready. `base` is the recording's address, `track` of `/tracks`. */
  constructor(base, track) {
    this.base = base;
    this.track = track;
    this.isVideo = track.kind === "video";
    this.element = document.createElement(this.isVideo ? "video" : "audio");
    this.element.playsInline = true;
    this.segments = [];
    this.spans = [];
    this.error = "";
    this.order = 0; // grows with each seek: what an older one still fetches is dropped
    this.inits = new Map();
  }

  /** Fetch the list of segments, and attach the buffer. */
  async open(duration) {
    await this.refresh();
    const first = this.segments[0];
    if (!first) return;
    if (!MediaSource.isTypeSupported(first.run.mime)) throw new Error(`this browser does not play ${first.run.mime}`);
    this.source = new MediaSource();
    this.element.src = URL.createObjectURL(this.source);
    await event(this.source, "sourceopen");
    this.buffer = this.source.addSourceBuffer(first.run.mime);
    this.mime = first.run.mime;
    this.source.duration = duration;
  }

  /** Fetch the list anew: an unfinished recording grows. */
  async refresh() {
    const answer = await request(`${this.base}/tracks/${this.track.track}/segments`);
    const { runs } = await answer.json();
    this.segments = segmentsOf(runs);
    this.spans = spansOf(this.segments);
  }

  /** Whether anything is recorded of it at this moment. */
  covers(time) {
    return spanAt(this.spans, time) !== undefined;
  }

  /**
   * Be at this moment, playing or not. Called ten times a second.
   * Gives whether it is there: a track that is not recorded at this moment always is.
   */
  follow(time, isPlaying) {
    if (!this.buffer || this.error) return true;
    if (!this.covers(time)) {
      this.element.pause();
      const next = nextStart(this.spans, time);
      if (next !== undefined && next - time < NEAR_S && !this.isFetchingFor(next)) this.fetchFrom(next);
      return true;
    }
    if (!this.isBuffered(time)) {
      this.element.pause();
      if (!this.isFetchingFor(time)) this.fetchFrom(time);
      return false;
    }
    this.keepUp(time, isPlaying);
    return this.element.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && !this.element.seeking;
  }

  keepUp(time, isPlaying) {
    const { element } = this;
    const drift = element.currentTime - time;
    if (!isPlaying) element.pause();
    if (Math.abs(drift) > (isPlaying ? DRIFT_S : 0.001)) {
      if (!element.seeking) element.currentTime = time;
    } else {
      element.playbackRate = Math.abs(drift) < SLACK_S ? 1 : drift > 0 ? 0.95 : 1.05;
    }
    if (isPlaying && element.paused) element.play().catch(() => {});
    this.time = this.goal = time;
    this.wake?.();
  }

  /** Say that the next moment does not follow the one before: what is not buffered is fetched anew. */
  jump() {
    this.goal = undefined;
  }

  isBuffered(time) {
    const { buffered } = this.buffer;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= time + SLACK_S && time < buffered.end(i)) return true;
    }
    return false;
  }

  isFetchingFor(time) {
    return this.goal !== undefined && this.goal <= time && time - this.goal < AHEAD_S;
  }

  /** Drop what is buffered and fetch anew, from what the picture of this moment needs. */
  fetchFrom(time) {
    this.order += 1;
    this.goal = time;
    this.time = time;
    this.fetch(this.order, time).catch((error) => {
      if (error.name !== "AbortError") this.error = error.message;
    });
  }

  async fetch(order, time) {
    this.abort?.abort();
    this.wake?.();
    this.abort = new AbortController();
    const { signal } = this.abort;
    await this.working; // the buffer belongs to one fetch at a time
    if (order !== this.order) return;
    let done;
    this.working = new Promise((resolve) => (done = resolve));
    try {
      if (this.buffer.updating) await event(this.buffer, "updateend");
      this.buffer.abort();
      if (this.buffer.buffered.length) await this.change(() => this.buffer.remove(0, Infinity));
      await this.pump(order, signal, firstSegment(this.segments, time, this.isVideo));
    } finally {
      done();
    }
  }

  async pump(order, signal, first) {
    let run;
    for (let next = first; next >= 0 && order === this.order; ) {
      if (next >= this.segments.length || this.segments[next].start > this.time + AHEAD_S) {
        await this.moment(); // enough for now, or the recording has to grow
        continue;
      }
      const segment = this.segments[next];
      if (segment.run.run !== run) {
        run = segment.run.run;
        await this.beginRun(segment.run, signal);
      }
      // The first request is for one segment, so that its picture is there soon.
      const last = next === first ? next : this.lastOfRequest(next);
      const bytes = await this.bytes(segment.run, segment.startByte, this.segments[last].endByte, signal);
      if (order !== this.order) return;
      await this.append(bytes);
      next = last + 1;
    }
  }

  lastOfRequest(first) {
    const { run, startByte } = this.segments[first];
    let last = first;
    for (let i = first + 1; i < this.segments.length; i += 1) {
      const segment = this.segments[i];
      const isFar = segment.start > this.time + AHEAD_S;
      if (segment.run !== run || isFar || segment.endByte - startByte > FETCH_BYTES) break;
      last = i;
    }
    return last;
  }

  async beginRun(run, signal) {
    if (!this.inits.has(run.run)) this.inits.set(run.run, await this.bytes(run, 0, run.init_bytes, signal));
    this.buffer.abort(); // the parser begins anew
    if (run.mime !== this.mime) this.buffer.changeType(run.mime);
    this.mime = run.mime;
    await this.change(() => this.buffer.appendBuffer(this.inits.get(run.run)));
    this.buffer.timestampOffset = run.offset_us / 1e6;
  }

  async append(bytes) {
    const old = this.time - BEHIND_S;
    const { buffered } = this.buffer;
    if (buffered.length && old > buffered.start(0) + BEHIND_S) await this.change(() => this.buffer.remove(0, old));
    await this.change(() => this.buffer.appendBuffer(bytes));
  }

  async change(act) {
    act();
    await event(this.buffer, "updateend");
    if (this.element.error) throw new Error(`${this.track.identity}: ${this.element.error.message}`);
  }

  async bytes(run, start, end, signal) {
    const address = `${this.base}/tracks/${this.track.track}/media?run=${run.run}`;
    const answer = await request(address, { headers: { Range: `bytes=${start}-${end - 1}` }, signal });
    return answer.arrayBuffer();
  }

  /** Wait for the next tick, or until a seek. */
  moment() {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, 500);
    });
  }
}

/** Fetch; an error body's sentence becomes the error. */
export async function request(address, options = {}) {
  const answer = await fetch(address, options);
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Error(body.message ?? `${address} answered ${answer.status}`);
}

function event(target, name) {
  return new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
}
