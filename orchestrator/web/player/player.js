// The page: all tracks of a recording follow one clock. It stands still while a track is not there yet.

import { clock, nextStart, spanAt } from "./timeline.js";
import { TrackPlayer, request } from "./track_player.js";

const TICK_MS = 100;
const GROW_MS = 3000; // an unfinished recording is asked for more
const id = location.pathname.split("/")[2];
const base = `/api/v1/recordings/${id}`;
const $ = (name) => document.getElementById(name);

const state = { position: 0, isPlaying: false, tickedAt: 0, recording: null, tracks: [], spans: [], noteUntil: 0 };

async function start() {
  state.recording = await (await request(`${base}/tracks`)).json();
  const end = state.recording.end_us / 1e6;
  document.title = `Recording of ${state.recording.media_start}`;
  state.room = state.recording.is_complete ? end : end + 24 * 3600; // to grow
  await load();
  $("play").disabled = $("seek").disabled = false;
  seek(addressed() ?? state.spans[0]?.[0] ?? 0);
  addEventListener("hashchange", () => seek(addressed() ?? state.position));
  say("");
  setInterval(tick, TICK_MS);
  if (!state.recording.is_complete) setTimeout(grow, GROW_MS);
}

/** Show the tracks that there are by now, those that have begun lately too, and where they are recorded. */
async function load() {
  for (const track of state.recording.tracks.slice(state.tracks.length)) {
    const player = new TrackPlayer(base, track);
    state.tracks.push(player);
    show(player);
  }
  await Promise.all(state.tracks.map((track) => (track.buffer ? track.refresh() : track.open(state.room))));
  layOut(state.recording.end_us / 1e6);
}

/** The time that the page's address names: `#t=SECONDS`. */
function addressed() {
  const text = new URLSearchParams(location.hash.slice(1)).get("t");
  return text && Number.isFinite(Number(text)) ? Number(text) : undefined;
}

function show(player) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const { identity, name, kind } = player.track;
  caption.textContent = `${identity} · ${name || kind}`;
  figure.append(player.element, caption);
  player.figure = figure;
  $(player.isVideo ? "pictures" : "sounds").append(figure);
}

/** Draw which stretches are recorded at all. */
function layOut(end) {
  const all = state.tracks.flatMap((track) => track.spans).sort((a, b) => a[0] - b[0]);
  state.spans = [];
  for (const [from, to] of all) {
    const last = state.spans.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else state.spans.push([from, to]);
  }
  state.end = end;
  $("seek").max = String(end);
  $("spans").replaceChildren(
    ...state.spans.map(([from, to]) => {
      const mark = document.createElement("i");
      mark.style.left = `${(100 * from) / end}%`;
      mark.style.width = `${(100 * (to - from)) / end}%`;
      return mark;
    }),
  );
}

function tick() {
  const now = performance.now();
  const passed = (now - state.tickedAt) / 1000;
  state.tickedAt = now;
  if (state.isPlaying && state.isThere) state.position += Math.min(passed, 1);
  leaveGap();
  state.isThere = state.tracks.map((track) => track.follow(state.position, state.isPlaying)).every(Boolean);
  const failed = state.tracks.find((track) => track.error);
  if (failed) say(failed.error);
  else if (now > state.noteUntil) say(state.isThere ? "" : "loading…");
  for (const track of state.tracks) track.figure.classList.toggle("away", !track.covers(state.position));
  document.body.dataset.state = failed ? "failed" : !state.isThere ? "loading" : state.isPlaying ? "playing" : "paused";
  document.body.dataset.position = state.position.toFixed(3);
  $("play").textContent = state.isPlaying ? "Pause" : "Play";
  $("time").textContent = `${clock(state.position)} / ${clock(state.end)}`;
  if (!state.isDragging) $("seek").value = String(state.position);
}

/** Where nothing is recorded, go on where something is, and say why it was not. */
function leaveGap() {
  if (!state.isPlaying || spanAt(state.spans, state.position)) return;
  const next = nextStart(state.spans, state.position);
  if (next === undefined) {
    state.isPlaying = false;
    return;
  }
  const at = state.position * 1e6;
  const declared = state.recording.gaps.find((gap) => gap.start_us <= at + 1e6 && at < gap.end_us);
  const reason = declared?.reason ? ` (${declared.reason})` : "";
  say(`${(next - state.position).toFixed(1)} s without a recording left out${reason}`, 4000);
  state.position = next;
}

function seek(time) {
  state.position = Math.min(Math.max(time, 0), Math.max(state.end - 0.05, 0));
  state.isThere = false;
  for (const track of state.tracks) track.jump();
  state.tickedAt = performance.now();
  document.body.dataset.state = "loading";
}

async function grow() {
  try {
    state.recording = await (await request(`${base}/tracks`)).json();
    await load();
  } catch (error) {
    say(error.message, GROW_MS);
  }
  if (!state.recording.is_complete) setTimeout(grow, GROW_MS);
}

function say(sentence, forMs = 0) {
  $("note").textContent = sentence;
  if (forMs) state.noteUntil = performance.now() + forMs;
}

$("play").addEventListener("click", () => {
  state.isPlaying = !state.isPlaying;
  if (state.isPlaying && state.position >= state.end - 0.2) seek(0);
});
$("seek").addEventListener("input", () => (state.isDragging = true));
$("seek").addEventListener("change", () => {
  state.isDragging = false;
  seek(Number($("seek").value));
});

start().catch((error) => {
  document.body.dataset.state = "failed";
  say(error.message);
});
