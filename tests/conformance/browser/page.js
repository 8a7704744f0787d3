// What the conformance tests do in a page with livekit-client: join, publish, look, listen, send. See page.py.
"use strict";

const { Room, RoomEvent, Track } = LivekitClient;
const WIDTH = 640;
const HEIGHT = 360;
const seen = { data: [], left: [], calls: [], texts: [], muted: [], failed: [] };
let room = null;
let drawn = 0;

async function join(url, token, options) {
  room = new Room(options);
  room.on(RoomEvent.DataReceived, (payload, from, _kind, topic) =>
    seen.data.push([new TextDecoder().decode(payload), from ? from.identity : null, topic]));
  room.on(RoomEvent.TrackMuted, (publication) => seen.muted.push(publication.trackSid));
  room.on(RoomEvent.TrackSubscriptionFailed, (sid, from, reason) => seen.failed.push([sid, from.identity, reason]));
  room.on(RoomEvent.TrackSubscribed, (track) => {
    const element = track.attach();
    element.id = track.sid;
    document.body.append(element);
  });
  room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
  room.registerRpcMethod("double", async (call) => String(2 * Number(call.payload)));
  room.registerTextStreamHandler("chat", async (reader, from) =>
    seen.texts.push([await reader.readAll(), from.identity]));
  await room.connect(url, token);
  room.on(RoomEvent.Disconnected, (reason) => seen.left.push(reason));
  return { sid: room.localParticipant.sid, room: await room.getSid(), others: others() };
}

// Has this page say, in offers and answers, that it has no decoder of these pictures.
function decodeNo(mimeType) {
  for (const name of ["createOffer", "createAnswer"]) {
    const create = RTCPeerConnection.prototype[name];
    RTCPeerConnection.prototype[name] = function (...given) {
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      for (const one of this.getTransceivers()) {
        if (one.receiver.track.kind === "video" && !one.sender.track) {
          one.setCodecPreferences(codecs.filter((codec) => codec.mimeType !== mimeType));
        }
      }
      return create.apply(this, given);
    };
  }
}

async function tryJoin(url, token) {
  try {
    await join(url, token, {});
  } catch (error) {
    return { status: error.status ?? null };
  }
  return null;
}

function others() {
  return [...room.remoteParticipants.keys()];
}

function videosOf(identity) {
  const who = room.remoteParticipants.get(identity);
  return who ? [...who.videoTrackPublications.keys()] : [];
}

// The counter of greenroom/synthetic_picture.py: two rows of sixteen cells, 24 bits and a CRC-8.
function draw(context, counter) {
  let crc = 0xff;
  for (const shift of [16, 8, 0]) {
    crc ^= (counter >> shift) & 0xff;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : (crc << 1) & 0xff;
  }
  const bits = counter.toString(2).padStart(24, "0") + (crc ^ 0xff).toString(2).padStart(8, "0");
  const cell = WIDTH / 16;
  context.fillStyle = `rgb(${counter % 200}, 90, 90)`;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  [...bits].forEach((bit, index) => {
    context.fillStyle = bit === "1" ? "white" : "black";
    context.fillRect((index % 16) * cell, Math.floor(index / 16) * cell, cell, cell);
  });
}

async function film(options) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const context = canvas.getContext("2d");
  setInterval(() => draw(context, (drawn += 1)), 50);
  draw(context, drawn);
  const [track] = canvas.captureStream(20).getVideoTracks();
  const published = await room.localParticipant.publishTrack(track, {
    name: "canvas", source: Track.Source.Camera, ...options,
  });
  return published.trackSid;
}

// Publish frames that say by how many degrees to the right they are to be turned.
async function filmFrames(rotation) {
  const data = new Uint8Array((WIDTH * HEIGHT * 3) / 2).fill(128);
  const track = new MediaStreamTrackGenerator({ kind: "video" });
  const writer = track.writable.getWriter();
  setInterval(() => writer.write(new VideoFrame(data, {
    format: "I420", codedWidth: WIDTH, codedHeight: HEIGHT, timestamp: performance.now() * 1000, rotation,
  })), 50);
  const published = await room.localParticipant.publishTrack(track, {
    name: "frames", source: Track.Source.Camera, simulcast: false,
  });
  return published.trackSid;
}

async function hum(hz) {
  const context = new AudioContext();
  const oscillator = context.createOscillator();
  const out = context.createMediaStreamDestination();
  oscillator.frequency.value = hz;
  oscillator.connect(out);
  oscillator.start();
  await context.resume();
  const [track] = out.stream.getAudioTracks();
  const published = await room.localParticipant.publishTrack(track, {
    name: "tone", source: Track.Source.Microphone, dtx: false,
  });
  return published.trackSid;
}

// Gives the brightness of each pixel of a video, as text of 320 times 180 bytes in base64; nothing before the first picture.
function look(sid) {
  const video = document.getElementById(sid);
  if (!video || video.readyState < 2) return null;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [320, 180];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 320, 180);
  const { data } = context.getImageData(0, 0, 320, 180);
  let text = "";
  for (let at = 0; at < data.length; at += 4) {
    text += String.fromCharCode(Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]));
  }
  return btoa(text);
}

// Gives the loudest frequency of a track, in Hz; 0 while it is silent.
const analysers = new Map();
function listen(sid) {
  const audio = document.getElementById(sid);
  if (!audio) return 0;
  if (!analysers.has(sid)) {
    const context = new AudioContext({ sampleRate: 48000 });
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    context.createMediaStreamSource(audio.srcObject).connect(analyser);
    analysers.set(sid, analyser);
  }
  const analyser = analysers.get(sid);
  const bins = new Uint8Array(analyser.frequencyBinCount);
  analyser.getByteFrequencyData(bins);
  const loudest = bins.indexOf(Math.max(...bins));
  return bins[loudest] < 100 ? 0 : (loudest * 48000) / analyser.fftSize;
}

async function send(text, topic, to) {
  await room.localParticipant.publishData(new TextEncoder().encode(text), {
    reliable: true, topic, destinationIdentities: to,
  });
}

function call(to, method, payload) {
  return room.localParticipant.performRpc({ destinationIdentity: to, method, payload });
}

function say(text) {
  return room.localParticipant.sendText(text, { topic: "chat" });
}

function mute(sid) {
  return [...room.localParticipant.trackPublications.values()].find((one) => one.trackSid === sid).mute();
}

function leave() {
  return room.disconnect();
}
