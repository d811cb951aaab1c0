//! The event source mapping of the queue under load: it fills batches before it hands them over.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::sim::lambda::Cloud;
use crate::sim::mapping::deliver;
use crate::sim::sqs::Held;

/// The most messages of a batch, as in the template (`BatchSize`).
pub(super) const BATCH_MAX: usize = 10;
/// How long a batch is waited for, as in the template (`MaximumBatchingWindowInSeconds`).
const WINDOW: Duration = Duration::from_secs(1);

/// Hands batches over for ever, at most so many at a time (`MaximumConcurrency`).
pub(super) async fn poll(cloud: Rc<Cloud>, concurrency: usize) {
    let free = Arc::new(Semaphore::new(concurrency));
    loop {
        let one = Arc::clone(&free).acquire_owned().await.expect("nobody closes it");
        let batch = gather(&cloud).await;
        let cloud = Rc::clone(&cloud);
        tokio::task::spawn_local(async move {
            deliver(&cloud, &cloud.queue, batch, 0.0).await;
            drop(one);
        });
    }
}

async fn gather(cloud: &Cloud) -> Vec<Held> {
    let mut batch = cloud.queue.receive(BATCH_MAX).await;
    let until = cloud.world.elapsed() + WINDOW;
    while batch.len() < BATCH_MAX {
        let left = until.saturating_sub(cloud.world.elapsed());
        let Ok(more) = timeout(left, cloud.queue.receive(BATCH_MAX - batch.len())).await else { break };
        batch.extend(more);
    }
    batch
}
