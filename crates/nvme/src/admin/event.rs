//! Asynchronous events (NVMe Base 2.1 §5.1.2).
//!
//! A request that was answered is sent again only when its event was taken, so that a controller that
//! answers at once every time cannot keep the driver busy.

use p2pdma_spec::nvme::admin::{AdminOpcode, AsyncEventResult};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::queue::SubmissionEntry;

use super::{Admin, AdminToken, Plan, Setting};
use crate::shared::Shared;
use crate::{Error, Failure};

impl Admin {
    /// Keeps the event of a request that was answered. A request that failed (the controller takes fewer
    /// than it said) is not sent again.
    pub(super) fn note_event(&mut self, outcome: Result<u64, Failure>) {
        if let Ok(result) = outcome {
            let [a, b, c, d, ..] = result.to_le_bytes();
            self.events.push_back(AsyncEventResult::from_bits(u32::from_le_bytes([a, b, c, d])));
        }
    }
}

impl Shared {
    /// Says which events to report, and sends the first requests.
    pub(crate) fn start_events(&self, admin: &mut Admin, plan: Plan) -> Result<(), Error> {
        if plan.events == 0 {
            return Ok(());
        }
        let setting = Setting::new(FeatureId::ASYNC_EVENT_CONFIGURATION, plan.event_config);
        match self.set_feature(admin, &setting) {
            // It reports what it reports.
            Ok(_) | Err(Error::Admin { .. }) => {}
            Err(error) => return Err(error),
        }
        admin.unarmed = plan.events;
        self.arm_events(admin)
    }

    /// Sends the event requests that are to be sent.
    pub(crate) fn arm_events(&self, admin: &mut Admin) -> Result<(), Error> {
        while admin.unarmed > 0 {
            let entry = SubmissionEntry::new(AdminOpcode::ASYNC_EVENT_REQUEST, 0);
            admin.raw.push(entry, AdminToken::Event).map_err(|(error, _)| error)?;
            admin.unarmed -= 1;
        }
        admin.raw.ring()
    }

    /// The next event, if one came. Its request is sent again.
    pub(crate) fn take_event(&self) -> Result<Option<AsyncEventResult>, Error> {
        let mut admin = self.admin()?;
        while let Some((_, token, outcome)) = admin.raw.poll()? {
            admin.absorb(token, outcome);
        }
        let event = admin.events.pop_front();
        if event.is_some() {
            admin.unarmed += 1;
            self.arm_events(&mut admin)?;
        }
        Ok(event)
    }
}
