//! Doorbells, in registers and in memory.

use p2pdma_spec::nvme::admin::AsyncErrorInfo;
use p2pdma_spec::nvme::queue::ADMIN_QID;
use p2pdma_spec::nvme::status::Status;

use super::super::nvm::Env;
use super::{Activity, Engine};

impl Engine {
    /// The host rang a tail doorbell.
    #[inline]
    pub(crate) fn ring_tail(&mut self, env: &mut Env<'_, '_>, id: u16, tail: u32) {
        let shadow = self.shadow.filter(|shadow| id != ADMIN_QID && shadow.covers(id));
        let Some(queue) = self.queues.submission(id) else {
            return self.refuse_doorbell(AsyncErrorInfo::INVALID_DOORBELL_REGISTER);
        };
        let outcome = match shadow {
            // What counts is the buffer, which is never older than the doorbell.
            Some(_) if tail < queue.size => Ok(()),
            Some(_) => Err(AsyncErrorInfo::INVALID_DOORBELL_VALUE),
            None => queue.set_tail(tail),
        };
        if let Err(info) = outcome {
            return self.refuse_doorbell(info);
        }
        if shadow.is_some() {
            self.look_at_tail(env, id);
        }
        self.admit(env, id);
    }

    /// A submission queue has commands: it has its turn at once if none other waits.
    #[inline]
    pub(super) fn admit(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let alone = self.arbiter.alone();
        match (self.queues.submission(id), alone) {
            (Some(queue), Some(most)) if !queue.waiting => {
                queue.waiting = true;
                self.serve(env, id, most);
            }
            _ => self.enqueue(id),
        }
    }

    /// The host rang a head doorbell.
    #[inline]
    pub(crate) fn ring_head(&mut self, env: &mut Env<'_, '_>, id: u16, head: u32) {
        let shadow = self.shadow.filter(|shadow| id != ADMIN_QID && shadow.covers(id));
        let Some(queue) = self.queues.completion(id) else {
            return self.refuse_doorbell(AsyncErrorInfo::INVALID_DOORBELL_REGISTER);
        };
        if shadow.is_some() && head < queue.size {
            self.look_at_head(env, id);
        } else if let Err(info) = queue.set_head(head) {
            return self.refuse_doorbell(info);
        }
        self.feed(id);
    }

    /// Queues that waited for room in a completion queue may go on.
    pub(super) fn feed(&mut self, cqid: u16) {
        let Some(queue) = self.queues.completion(cqid) else { return };
        if queue.room == 0 || queue.starved.is_empty() {
            return;
        }
        let mut fed = std::mem::take(&mut queue.starved);
        for id in fed.drain(..) {
            self.unpark(id);
        }
        // The memory serves those that starve next.
        if let Some(queue) = self.queues.completion(cqid) {
            queue.starved = fed;
        }
    }

    #[cold]
    fn refuse_doorbell(&mut self, info: AsyncErrorInfo) {
        self.errors.other(Status::INVALID_FIELD);
        self.events.raise_error(info);
    }

    /// Gives a submission queue with commands its place among those that wait, if it has none.
    #[inline]
    pub(super) fn enqueue(&mut self, id: u16) {
        if let Some(queue) = self.queues.submission(id)
            && !queue.waiting
        {
            queue.waiting = true;
            let priority = queue.priority;
            self.arbiter.push(id, priority);
        }
    }

    /// A queue that waited elsewhere waits for its turn again.
    pub(super) fn unpark(&mut self, id: u16) {
        if let Some(queue) = self.queues.submission(id) {
            let priority = queue.priority;
            self.arbiter.push(id, priority);
        }
    }

    pub(super) fn look_at_tail(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let (Some(shadow), Some(queue)) = (self.shadow, self.queues.submission(id)) else { return };
        match shadow.tail(&mut env.dma, id, queue.tail) {
            // A value that has not moved is no mistake here.
            Ok(Some(tail)) if tail != queue.tail => {
                if let Err(info) = queue.set_tail(tail) {
                    self.refuse_doorbell(info);
                }
            }
            Ok(_) => {}
            Err(_) => self.activity = Activity::Fatal,
        }
    }

    pub(super) fn look_at_head(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let (Some(shadow), Some(queue)) = (self.shadow, self.queues.completion(id)) else { return };
        match shadow.head(&mut env.dma, id, queue.head()) {
            Ok(Some(head)) if head != queue.head() => {
                if let Err(info) = queue.set_head(head) {
                    self.refuse_doorbell(info);
                }
            }
            Ok(_) => {}
            Err(_) => self.activity = Activity::Fatal,
        }
    }

    /// With doorbells in memory, a queue that seems empty may not be.
    pub(super) fn look_again(&mut self, env: &mut Env<'_, '_>, id: u16) {
        self.look_at_tail(env, id);
        if self.queues.submission(id).is_some_and(|queue| queue.pending() > 0) {
            self.enqueue(id);
        }
    }

    /// Doorbells in memory begin with what the registers say.
    pub(crate) fn adopt_shadow(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let Some(shadow) = self.shadow else { return };
        let Some((queue, completions)) = self.queues.pair(id) else { return };
        let (tail, head, cqid) = (queue.tail, completions.head(), queue.cqid);
        if shadow.begin(&mut env.dma, id, tail, cqid, head).is_err() {
            self.activity = Activity::Fatal;
        }
    }
}
