// Segment's present Node library: makes the calls that it is told on stdin.

import { Analytics } from "@segment/analytics-node";
import { run, segmentMessage } from "./client_process.mjs";

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
  const failures = {};
  const gaveUp = [];
  const made = task.calls.map(
    (call) =>
      new Promise((resolve) => {
        analytics[call.call](segmentMessage(call), (error) => {
          if (error) {
            failures[call.user] = 1;
            gaveUp.push(call.user);
          }
          resolve();
        });
      }),
  );
  await Promise.all(made);
  return { failures, gaveUp };
});
