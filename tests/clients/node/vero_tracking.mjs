// Vero's own JavaScript library: makes the calls that it is told on stdin. It tries nothing again and has no time-out,
// so its caller does the one, and has the other.

import { Tracker } from "@getvero/tracking";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "./client_process.mjs";

const PAUSE_MILLIS = 200;

function make(tracker, call) {
  const userId = call.user;
  switch (call.call) {
    case "user.identify":
      return tracker.user.identify({ id: userId, email: call.email, data: call.data, channels: call.channels });
    case "user.alias":
      return tracker.user.alias({ userId: call.former, newId: userId });
    case "user.unsubscribe":
      return tracker.user.unsubscribe({ userId });
    case "user.resubscribe":
      return tracker.user.resubscribe({ userId });
    case "user.delete":
      return tracker.user.delete({ userId });
    case "tag.edit":
      return tracker.tag.edit({ userId, add: call.add, remove: call.remove });
    case "event.track": {
      const extras = call.created_at ? { source: call.source ?? "tests", createdAt: call.created_at } : undefined;
      return tracker.event.track({
        identity: { userId, email: call.email },
        eventName: call.event,
        data: call.data,
        extras,
      });
    }
    default:
      throw new Error(`no call ${call.call}`);
  }
}

/** Fails after a time, which is the caller's patience and not the library's. */
async function within(seconds, promise) {
  const late = sleep(seconds * 1000, undefined, { ref: false }).then(() => {
    throw new Error("too late");
  });
  // Whichever loses the race may fail later, when nobody looks any more.
  promise.catch(() => {});
  late.catch(() => {});
  await Promise.race([promise, late]);
}

await run(async (task) => {
  const tracker = new Tracker({ trackingApiKey: task.write_key, trackingApiBaseUrl: task.host });
  const failures = {};
  const gaveUp = [];
  for (const call of task.calls) {
    let delivered = false;
    for (let attempt = 0; attempt < task.tries && !delivered; attempt += 1) {
      if (attempt > 0) await sleep(PAUSE_MILLIS);
      try {
        await within(task.timeout_seconds ?? 30, make(tracker, call));
        delivered = true;
      } catch {
        failures[call.user] = (failures[call.user] ?? 0) + 1;
      }
    }
    if (!delivered) gaveUp.push(call.user);
  }
  return { failures, gaveUp };
});
