//! Random admin commands. What controllers tell of themselves differs; whether they answer should not.

use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{
    AdminOpcode, Cns, CreateCompletionQueueCdw11, CreateQueueCdw10, CreateSubmissionQueueCdw11,
};

use zerocopy::little_endian::U32;

use super::number::Numbers;
use super::shot::{Place, Pointer, Queue, Shot};
use super::side::QID;

/// A command.
pub(crate) fn shot(numbers: &mut Numbers) -> Shot {
    use AdminOpcode as O;
    let opcode = numbers.pick(&[
        O::IDENTIFY,
        O::IDENTIFY,
        O::GET_LOG_PAGE,
        O::GET_FEATURES,
        O::GET_FEATURES,
        O::ABORT,
        O::CREATE_COMPLETION_QUEUE,
        O::CREATE_SUBMISSION_QUEUE,
        O::DELETE_COMPLETION_QUEUE,
        O::DELETE_SUBMISSION_QUEUE,
    ]);
    if numbers.one_in(20) {
        return unknown(numbers);
    }
    let mut shot = Shot::new(Queue::Admin, opcode.into_bits(), 0);
    shot.pointer = Pointer::Prp(Place::Arena(0), Place::Arena(4096));
    match opcode {
        O::IDENTIFY => identify(numbers, &mut shot),
        O::GET_LOG_PAGE => log_page(numbers, &mut shot),
        O::GET_FEATURES => feature(numbers, &mut shot),
        O::ABORT => abort(numbers, &mut shot),
        O::CREATE_COMPLETION_QUEUE => completion_queue(numbers, &mut shot),
        O::CREATE_SUBMISSION_QUEUE => submission_queue(numbers, &mut shot),
        O::DELETE_COMPLETION_QUEUE => delete(numbers, &mut shot, "completion queue in use"),
        _ => delete(numbers, &mut shot, ""),
    }
    shot
}

/// An opcode that is reserved or a vendor's.
fn unknown(numbers: &mut Numbers) -> Shot {
    let opcode = numbers.pick(&[0x03, 0x07, 0x0B, 0x0E, 0x12, 0x2B, 0x7B, 0x87, 0xC0, 0xFF]);
    let mut shot = Shot::new(Queue::Admin, opcode, 0);
    "no such command".clone_into(&mut shot.flaw);
    shot
}

/// A namespace, and the words for it.
fn namespace(numbers: &mut Numbers) -> (u32, &'static str) {
    numbers.pick(&[
        (1, "a namespace"),
        (4, "a namespace"),
        (0, "NSID 0"),
        (9, "NSID not active"),
        (0x1_0000, "NSID beyond NN"),
        (NSID_ALL, "NSID FFFFFFFFh"),
    ])
}

fn identify(numbers: &mut Numbers, shot: &mut Shot) {
    let cns = numbers
        .pick(&[0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x0B, 0x0F, 0x1C, 0x21, 0x7F]);
    let (nsid, words) = namespace(numbers);
    shot.entry.nsid.set(nsid);
    shot.entry.cdw10 = U32::new(cns);
    let name = Cns::from_bits(u8::try_from(cns).unwrap());
    shot.flaw = format!("{name}, {words}");
    if numbers.one_in(8) {
        shot.entry.nsid.set(1);
        shot.entry.cdw10 = U32::new(0);
        shot.pointer = Pointer::Prp(Place::Arena(1), Place::Arena(4096));
        "PRP1 not at a dword".clone_into(&mut shot.flaw);
    } else if numbers.one_in(8) {
        shot.entry.nsid.set(1);
        shot.entry.cdw10 = U32::new(0);
        shot.pointer = Pointer::Prp(Place::Arena(64), Place::Arena(4096 + 8));
        "PRP2 within a page".clone_into(&mut shot.flaw);
    }
}

fn log_page(numbers: &mut Numbers, shot: &mut Shot) {
    let lid = numbers.pick(&[0x01, 0x02, 0x03, 0x05, 0x2F, 0x6F, 0xBE]);
    let dwords = numbers.pick(&[1, 16, 128]);
    shot.entry.nsid.set(NSID_ALL);
    shot.entry.cdw10 = U32::new(lid | (dwords - 1) << 16);
    if lid > 0x20 {
        "no such page".clone_into(&mut shot.flaw);
        return;
    }
    shot.flaw = format!("page {lid:02X}h");
    match numbers.below(6) {
        0 => {
            shot.entry.cdw12 = U32::new(2);
            shot.flaw += " from no dword";
        }
        1 => {
            shot.entry.cdw12 = U32::new(1 << 20);
            shot.flaw += " beyond its end";
        }
        _ => {}
    }
}

fn feature(numbers: &mut Numbers, shot: &mut Shot) {
    let fid = numbers.pick(&[
        0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0E, 0x22, 0x77, 0xBF,
    ]);
    let select = numbers.pick(&[0, 0, 1, 2, 3]);
    shot.entry.cdw10 = U32::new(fid | select << 8);
    let capabilities = if select == 3 { ", its capabilities" } else { "" };
    shot.flaw = format!("feature {fid:02X}h{capabilities}");
}

fn abort(numbers: &mut Numbers, shot: &mut Shot) {
    let sqid = numbers.pick(&[0, QID, 7, 60]);
    shot.entry.cdw10 = U32::new(u32::from(sqid) | 0xABCD << 16);
    let there = if sqid == 0 || sqid == QID { "command" } else { "queue" };
    shot.flaw = format!("no such {there}");
}

/// A queue that cannot be.
fn queue(numbers: &mut Numbers, shot: &mut Shot) -> CreateQueueCdw10 {
    let good = CreateQueueCdw10::new().with_qid(5).with_qsize_z(3);
    let (wrong, words) = numbers.pick(&[
        (good.with_qid(0), "QID 0"),
        (good.with_qid(9), "QID beyond the number of queues"),
        (good.with_qid(QID), "QID in use"),
        (good.with_qsize_z(0), "one entry"),
        (good.with_qsize_z(1024), "more entries than MQES"),
    ]);
    words.clone_into(&mut shot.flaw);
    wrong
}

fn completion_queue(numbers: &mut Numbers, shot: &mut Shot) {
    let good = CreateQueueCdw10::new().with_qid(5).with_qsize_z(3);
    let cdw11 = CreateCompletionQueueCdw11::new().with_pc(true);
    let (cdw10, cdw11) = match numbers.below(5) {
        0 => {
            shot.pointer = Pointer::Prp(Place::Arena(64), Place::Number(0));
            "PRP1 within a page".clone_into(&mut shot.flaw);
            (good, cdw11)
        }
        1 => {
            "not contiguous".clone_into(&mut shot.flaw);
            (good, cdw11.with_pc(false))
        }
        2 => {
            "no such vector".clone_into(&mut shot.flaw);
            (good, cdw11.with_ien(true).with_iv(2000))
        }
        _ => (queue(numbers, shot), cdw11),
    };
    (shot.entry.cdw10, shot.entry.cdw11) = (cdw10.into(), cdw11.into());
}

fn submission_queue(numbers: &mut Numbers, shot: &mut Shot) {
    let good = CreateQueueCdw10::new().with_qid(5).with_qsize_z(3);
    let cdw11 = CreateSubmissionQueueCdw11::new().with_pc(true).with_cqid(QID);
    let (cdw10, cdw11) = match numbers.below(6) {
        0 => {
            shot.pointer = Pointer::Prp(Place::Arena(64), Place::Number(0));
            "PRP1 within a page".clone_into(&mut shot.flaw);
            (good, cdw11)
        }
        1 => {
            "not contiguous".clone_into(&mut shot.flaw);
            (good, cdw11.with_pc(false))
        }
        2 => {
            "completions to queue 0".clone_into(&mut shot.flaw);
            (good, cdw11.with_cqid(0))
        }
        3 => {
            "no such completion queue".clone_into(&mut shot.flaw);
            (good, cdw11.with_cqid(7))
        }
        _ => (queue(numbers, shot), cdw11),
    };
    (shot.entry.cdw10, shot.entry.cdw11) = (cdw10.into(), cdw11.into());
}

fn delete(numbers: &mut Numbers, shot: &mut Shot, in_use: &str) {
    let (mut qid, mut words) =
        numbers.pick(&[(0, "QID 0"), (5, "no such queue"), (60, "no such queue")]);
    if !in_use.is_empty() && numbers.one_in(3) {
        (qid, words) = (QID.into(), in_use);
    }
    shot.entry.cdw10 = U32::new(qid);
    words.clone_into(&mut shot.flaw);
}
