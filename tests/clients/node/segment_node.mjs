// Segment's present Node library: makes the calls that it is told on stdin.

import { Analytics } from "@segment/analytics-node";
import { callAll, run } from "./client_process.mjs";

await run(async (task) => {
  const analytics = new Analytics({
    writeKey: task.write_key,
    host: task.host,
    // The library's own default is 10, which takes minutes.
    maxRetries: 3,
    // All calls of a task come into one request.
    flushAt: task.calls.length,
    httpRequestTimeout: task.timeout_seconds ? task.timeout_seconds * 1000 : 10_000,
  });
  analytics.on("error", () => {});
  return callAll(analytics, task.calls);
});
