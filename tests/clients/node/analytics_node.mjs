// Segment's former Node library, which is deprecated and still installed: makes the calls that it is told on stdin.

import Analytics from "analytics-node";
import { run, segmentMessage } from "./client_process.mjs";

await run(async (task) => {
  const analytics = new Analytics(task.write_key, {
    host: task.host,
    retryCount: 3,
    timeout: task.timeout_seconds ? task.timeout_seconds * 1000 : undefined,
    errorHandler: () => {},
    // It sends the first call of all at once, and then the others together.
    flushAt: Math.max(task.calls.length - 1, 1),
  });
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
