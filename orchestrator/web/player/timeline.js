// Times of a recording, without anything of the page: which stretches are recorded, and what to fetch for a moment.
// All times are seconds on the recording's timeline.

const JOIN_S = 0.05; // shorter holes count as recorded, as in the recording's own coverage

/** Flatten the runs of a track to its segments, in the order in which they are stored. */
export function segmentsOf(runs) {
  return runs.flatMap((run) =>
    run.segments.map((segment) => ({
      run,
      start: segment.start_us / 1e6,
      end: segment.end_us / 1e6,
      startByte: segment.start_byte,
      endByte: segment.start_byte + segment.size_bytes,
      hasKeyframe: segment.has_keyframe,
    })),
  );
}

/** Join what lies side by side to spans [start, end], rising. */
export function spansOf(segments) {
  const spans = [];
  for (const { start, end } of [...segments].sort((a, b) => a.start - b.start)) {
    const last = spans.at(-1);
    if (last && start - last[1] <= JOIN_S) last[1] = Math.max(last[1], end);
    else spans.push([start, end]);
  }
  return spans;
}

/** The span that a moment lies in, if any. */
export function spanAt(spans, time) {
  return spans.find(([start, end]) => start <= time && time < end);
}

/** When the next span begins after a moment; undefined when there is none. */
export function nextStart(spans, time) {
  return spans.find(([start]) => start > time)?.[0];
}

/**
 * Where to begin fetching, so that the picture of a moment can be decoded: the number of a segment.
 *
 * A segment with a keyframe may hold pictures before it. So for video the one that holds the moment itself does
 * only when it begins its run; else the keyframe before is taken too.
 */
export function firstSegment(segments, time, isVideo) {
  let at = segments.findIndex(({ start, end }) => start <= time && time < end);
  if (at < 0) at = segments.findIndex(({ start }) => start > time);
  if (at < 0 || !isVideo) return at;
  const { run } = segments[at];
  const earlier = (from) => {
    for (let i = from; i >= 0 && segments[i].run === run; i -= 1) if (segments[i].hasKeyframe) return i;
    return -1;
  };
  const keyframe = earlier(at);
  if (keyframe < 0) return segments.findIndex((segment) => segment.run === run);
  const before = keyframe === at ? earlier(at - 1) : -1;
  return before < 0 ? keyframe : before;
}

/** Write seconds as m:ss or h:mm:ss. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : String(part))).join(":");
}
