//! Jobs at providers, as rows keep what became of them.

use heddle_core::id::AttemptNumber;
use heddle_core::run::event::Fact;
use heddle_core::run::{JobEnd, JobKey};
use heddle_proto::journal as pb;

use super::decode::{Part, instance as instance_of, node_error as error_of};
use super::encode::{instance, node_error};

pub(super) fn ended_to_wire(job: &JobKey, end: &JobEnd) -> pb::ProviderCancelled {
    use pb::provider_cancelled::End;
    let end = match end {
        JobEnd::Cancelled => End::Cancelled(pb::Closed {}),
        JobEnd::Over => End::Over(pb::Closed {}),
        JobEnd::Unsupported => End::Unsupported(pb::Closed {}),
        JobEnd::Failed(error) => End::Failed(node_error(error)),
    };
    pb::ProviderCancelled { instance: Some(instance(job.instance)), number: job.number.0, end: Some(end) }
}

pub(super) fn ended_from_wire(it: pb::ProviderCancelled) -> Part<Fact> {
    use pb::provider_cancelled::End;
    let end = match it.end.ok_or("no end of a job")? {
        End::Cancelled(pb::Closed {}) => JobEnd::Cancelled,
        End::Over(pb::Closed {}) => JobEnd::Over,
        End::Unsupported(pb::Closed {}) => JobEnd::Unsupported,
        End::Failed(error) => JobEnd::Failed(error_of(error)?),
    };
    let job = JobKey { instance: instance_of(it.instance)?, number: AttemptNumber(it.number) };
    Ok(Fact::ProviderCancelled { job, end })
}
