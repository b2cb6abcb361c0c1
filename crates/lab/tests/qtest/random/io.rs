//! Random I/O commands: most are as they should be, the others have one flaw.

use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::nvm::{
    CopyFormat, CopyRange0, DatasetManagementCdw10, DatasetManagementCdw11, DatasetRange,
    NvmOpcode, ReadWriteCdw12,
};
use p2pdma_spec::nvme::protection::Prinfo;
use p2pdma_spec::nvme::queue::{DataTransfer, Fuse};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32, U64};

use super::number::Numbers;
use super::shot::{List, METADATA, Piece, Place, Pointer, Queue, Shot};

/// A namespace of the machine file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) blocks: u64,
    pub(crate) block: u32,
    pub(crate) metadata: u32,
    /// Whether the metadata are protection information of type 1.
    pub(crate) protected: bool,
}

pub(crate) const NAMESPACES: [Space; 4] = [
    Space { blocks: 16_384, block: 4096, metadata: 0, protected: false },
    Space { blocks: 32_768, block: 512, metadata: 0, protected: false },
    Space { blocks: 8192, block: 512, metadata: 8, protected: true },
    Space { blocks: 4096, block: 4096, metadata: 64, protected: false },
];

/// Commands are about so many blocks at the beginning of a namespace, and so many at its end.
pub(crate) const WINDOW: u64 = 32;
/// The most data of a command here.
const MOST: u32 = 64 << 10;
/// An address where nothing is, on either machine.
pub(crate) const NOWHERE: Place = Place::Number(1 << 50);

const DATA_BLOCK: u8 = 0x00;
const BIT_BUCKET: u8 = 0x10;
const SEGMENT: u8 = 0x20;
const LAST_SEGMENT: u8 = 0x30;

/// A command in the making.
struct Draft<'a> {
    numbers: &'a mut Numbers,
    shot: Shot,
    space: Space,
    slba: u64,
    blocks: u32,
}

/// A command.
pub(crate) fn shot(numbers: &mut Numbers) -> Shot {
    use NvmOpcode as O;
    let opcode = numbers.pick(&[
        O::READ,
        O::READ,
        O::READ,
        O::READ,
        O::WRITE,
        O::WRITE,
        O::WRITE,
        O::WRITE,
        O::COMPARE,
        O::WRITE_ZEROES,
        O::VERIFY,
        O::FLUSH,
        O::DATASET_MANAGEMENT,
        O::COPY,
    ]);
    if numbers.one_in(40) {
        return unknown(numbers);
    }
    let nsid = numbers.small(4) + 1;
    let space = NAMESPACES[usize::try_from(nsid).unwrap() - 1];
    let shot = Shot::new(Queue::Io, opcode.into_bits(), nsid);
    let most = (MOST / space.block).min(u32::try_from(WINDOW).unwrap());
    let blocks = 1 + if numbers.one_in(2) { numbers.small(most) } else { numbers.small(3) };
    let slba = numbers.below(WINDOW + 1 - u64::from(blocks));
    let slba = if numbers.one_in(4) { space.blocks - WINDOW + slba } else { slba };
    let mut draft = Draft { numbers, shot, space, slba, blocks };
    let flawed = draft.numbers.one_in(2);
    match opcode {
        O::READ | O::WRITE | O::COMPARE => draft.blocks_with_data(flawed),
        O::WRITE_ZEROES | O::VERIFY => draft.blocks_alone(flawed),
        O::DATASET_MANAGEMENT => draft.dataset(flawed),
        O::COPY => draft.copy(flawed),
        _ => draft.flush(flawed),
    }
    draft.shot
}

/// An opcode that is reserved, a vendor's, or optional and offered by neither.
fn unknown(numbers: &mut Numbers) -> Shot {
    let opcode = numbers.pick(&[
        0x03, 0x07, 0x0A, 0x0D, 0x0E, 0x11, 0x15, 0x20, 0x55, 0x79, 0x7F, 0x80, 0x91, 0xFF,
    ]);
    let mut shot = Shot::new(Queue::Io, opcode, numbers.small(4) + 1);
    shot.flaw = "no such command".to_owned();
    shot
}

impl Draft<'_> {
    fn flaw(&mut self, text: &str) {
        text.clone_into(&mut self.shot.flaw);
    }

    /// First block, number of blocks, and what else a command about blocks has.
    fn aim(&mut self) {
        self.shot.entry.set_cdw10_11(self.slba);
        let nlb_z = u16::try_from(self.blocks - 1).unwrap();
        let cdw12 = ReadWriteCdw12::new().with_nlb_z(nlb_z);
        self.shot.entry.cdw12 = cdw12.into();
        if self.space.protected {
            let [a, b, c, d, ..] = self.slba.to_le_bytes();
            self.shot.entry.cdw14 = U32::from_bytes([a, b, c, d]);
        }
    }

    fn prinfo(&mut self, prinfo: Prinfo) {
        let cdw12 = ReadWriteCdw12::from(self.shot.entry.cdw12).with_prinfo(prinfo);
        self.shot.entry.cdw12 = cdw12.into();
    }

    fn blocks_with_data(&mut self, flawed: bool) {
        self.shot.writes = self.shot.entry.opcode() == NvmOpcode::WRITE.into_bits();
        self.aim();
        self.place_metadata(flawed);
        if !flawed {
            return self.place_data();
        }
        match self.numbers.below(5) {
            0 => {
                self.place_data();
                self.wrong_blocks();
            }
            1 => {
                self.place_data();
                self.wrong_fields();
            }
            2 => self.wrong_prp(),
            _ => self.wrong_sgl(),
        }
    }

    /// Metadata have their place at any dword; of protection information some is checked, but not where
    /// something else is wrong: which of two errors is reported is a controller's choice.
    fn place_metadata(&mut self, flawed: bool) {
        if self.space.metadata == 0 {
            return;
        }
        let at = METADATA + 4 * self.numbers.below(256);
        self.shot.metadata = Place::Arena(at);
        if self.space.protected && !flawed {
            let compare = self.shot.entry.opcode() == NvmOpcode::COMPARE.into_bits();
            let prinfo = Prinfo::new()
                .with_pract(!compare && self.numbers.one_in(2))
                .with_check_guard(self.numbers.one_in(2))
                .with_check_application(self.numbers.one_in(4))
                .with_check_reference(self.numbers.one_in(2));
            self.prinfo(prinfo);
            self.shot.entry.cdw15 = U32::new(self.numbers.pick(&[0, 0xFFFF_0000, 0x00FF_0012]));
        }
    }

    fn bytes(&self) -> u32 {
        self.blocks * self.space.block
    }

    fn place_data(&mut self) {
        match self.numbers.below(3) {
            0 => self.contiguous(),
            1 => self.pages(),
            _ => {
                let pieces = self.cut(self.bytes());
                self.scattered(&pieces);
            }
        }
    }

    /// One run of memory that begins at any dword of a page.
    fn contiguous(&mut self) {
        let offset = if self.numbers.one_in(2) { 0 } else { 4 * self.numbers.below(1024) };
        let first = 4096 * self.numbers.below(16) + offset;
        let end = first + u64::from(self.bytes());
        let pages: Vec<Place> =
            (first / 4096 + 1..end.div_ceil(4096)).map(|page| Place::Arena(page * 4096)).collect();
        self.prp(Place::Arena(first), pages);
    }

    /// Pages in any order, the first one cut anywhere.
    fn pages(&mut self) {
        let offset = if self.numbers.one_in(2) { 0 } else { 4 * self.numbers.below(1024) };
        let count = (offset + u64::from(self.bytes())).div_ceil(4096);
        let (start, step) = (self.numbers.below(47), self.numbers.pick(&[1, 5, 46]));
        // 47 is prime: no page twice.
        let pages: Vec<Place> =
            (0..count).map(|page| Place::Arena((start + page * step) % 47 * 4096)).collect();
        self.prp(pages[0].plus(offset), pages[1..].to_vec());
    }

    fn prp(&mut self, first: Place, rest: Vec<Place>) {
        let second = match rest[..] {
            [] => Place::Number(0),
            [page] => page,
            // Lists begin at any entry of a page, as long as they do not cross its end.
            _ => {
                let room = 512 - rest.len() as u64;
                let at = 8 * self.numbers.pick(&[0, 1, room / 2, room]);
                self.shot.lists = vec![List::Prp { at, entries: rest }];
                Place::Lists(at)
            }
        };
        self.shot.pointer = Pointer::Prp(first, second);
    }

    /// Pieces of any size at any place, none over another.
    fn cut(&mut self, bytes: u32) -> Vec<Piece> {
        let count = 1 + self.numbers.small(6);
        let mut cuts: Vec<u32> = (1..count).map(|_| self.numbers.small(bytes)).collect();
        cuts.extend([0, bytes]);
        cuts.sort_unstable();
        let gap = self.numbers.below(5000);
        let piece = |(index, cut): (usize, &[u32])| Piece {
            at: Place::Arena(u64::from(cut[0]) + index as u64 * gap),
            len: cut[1] - cut[0],
            identifier: DATA_BLOCK,
        };
        let mut pieces: Vec<Piece> = cuts.windows(2).enumerate().map(piece).collect();
        if self.numbers.one_in(2) {
            pieces.reverse();
        }
        pieces
    }

    /// As a list of one or two segments, or in the command if it is one piece.
    fn scattered(&mut self, pieces: &[Piece]) {
        let psdt = DataTransfer::SGL_METADATA_BUFFER;
        self.shot.entry.cdw0.set(self.shot.entry.cdw0.get().with_psdt(psdt));
        let to = |at, count: usize, identifier| Piece {
            at: Place::Lists(at),
            len: u32::try_from(count * 16).unwrap(),
            identifier,
        };
        self.shot.pointer = Pointer::Sgl(match pieces {
            [piece] if self.numbers.one_in(2) => *piece,
            _ if pieces.len() < 2 || self.numbers.one_in(2) => {
                self.shot.lists = vec![List::Sgl { at: 0, pieces: pieces.to_vec() }];
                to(0, pieces.len(), LAST_SEGMENT)
            }
            _ => {
                let (first, second) = pieces.split_at(pieces.len() / 2);
                let mut first = first.to_vec();
                first.push(to(8192, second.len(), LAST_SEGMENT));
                let segment = to(0, first.len(), SEGMENT);
                self.shot.lists = vec![
                    List::Sgl { at: 0, pieces: first },
                    List::Sgl { at: 8192, pieces: second.to_vec() },
                ];
                segment
            }
        });
    }

    /// Blocks or namespaces that are not there.
    fn wrong_blocks(&mut self) {
        let last = self.space.blocks;
        match self.numbers.below(7) {
            0 => self.elsewhere("NSID 0", 0),
            1 => self.elsewhere("NSID not active", 9),
            2 => self.elsewhere("NSID beyond NN", 0x1_0000),
            3 => self.elsewhere("NSID FFFFFFFFh", NSID_ALL),
            4 => self.at("last block beyond the end", last - u64::from(self.blocks) + 1),
            5 => {
                let beyond = self.numbers.below(3);
                self.at("first block beyond the end", last + beyond);
            }
            _ => self.at("last block beyond 64 bits", u64::MAX - u64::from(self.blocks) + 1),
        }
    }

    fn elsewhere(&mut self, flaw: &str, nsid: u32) {
        self.flaw(flaw);
        self.shot.entry.nsid.set(nsid);
    }

    fn at(&mut self, flaw: &str, slba: u64) {
        self.flaw(flaw);
        self.shot.entry.set_cdw10_11(slba);
    }

    /// Fields that no command has, or that say what is not so.
    fn wrong_fields(&mut self) {
        let entry = &mut self.shot.entry;
        match self.numbers.below(6) {
            0 => {
                let fuse = self.numbers.small(3) + 1;
                let fuse = Fuse::from_bits(u8::try_from(fuse).unwrap());
                entry.cdw0.set(entry.cdw0.get().with_fuse(fuse));
                self.shot.flaw = fuse.to_string();
            }
            1 => {
                let psdt = DataTransfer::from_bits(3);
                entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
                self.flaw("PSDT 3");
            }
            2 => {
                // 2 MiB and one block more.
                let blocks = (2 << 20) / self.space.block;
                entry.set_cdw10_11(0);
                entry.cdw12.set(entry.cdw12.get() & !0xFFFF | blocks);
                self.flaw("longer than MDTS");
            }
            3 if !self.space.protected => {
                self.prinfo(Prinfo::new().with_pract(true).with_check_guard(true));
                self.flaw("PRINFO without protection information");
            }
            4 => {
                entry.cdw12.set(entry.cdw12.get() | 0x0010_0000);
                self.flaw("directive type 1");
            }
            5 if self.space.metadata > 0 => {
                self.shot.metadata = self.shot.metadata.plus(2);
                self.flaw("metadata not at a dword");
            }
            _ => {
                entry.cdw2.set(0xFFFF_FFFF);
                entry.cdw13.set(0x0000_FF00);
                self.flaw("reserved fields set");
            }
        }
    }

    /// A list of three pages and more, so that there is something to be wrong everywhere.
    fn wrong_prp(&mut self) {
        self.blocks = 4 * 4096 / self.space.block;
        self.slba = self.slba.min(WINDOW - u64::from(self.blocks));
        self.aim_again();
        let page = |page: u64| Place::Arena(page * 4096);
        let (mut first, mut second) = (page(0), Place::Lists(0));
        let mut entries = vec![page(1), page(2), page(3)];
        let name = match self.numbers.below(5) {
            0 => {
                first = first.plus(1 + self.numbers.below(3));
                entries.push(page(4));
                "PRP1 not at a dword"
            }
            1 => {
                second = Place::Lists(4);
                "list not at a qword"
            }
            2 => {
                entries[1] = entries[1].plus(4 * (1 + self.numbers.below(1000)));
                "entry of a list within a page"
            }
            3 => {
                second = NOWHERE;
                "list nowhere"
            }
            _ => {
                self.blocks = 2 * 4096 / self.space.block;
                self.aim_again();
                second = page(7).plus(4 * (1 + self.numbers.below(1000)));
                "PRP2 within a page"
            }
        };
        self.flaw(name);
        self.shot.lists = vec![List::Prp { at: 0, entries }];
        self.shot.pointer = Pointer::Prp(first, second);
    }

    /// First block and number of blocks anew, protection information as it was.
    fn aim_again(&mut self) {
        let prinfo = ReadWriteCdw12::from(self.shot.entry.cdw12).prinfo();
        self.aim();
        self.prinfo(prinfo);
    }

    fn wrong_sgl(&mut self) {
        let bytes = self.bytes();
        let mut pieces = self.cut(bytes);
        let last = pieces.len() - 1;
        match self.numbers.below(8) {
            0 => {
                pieces[last].len += 512;
                self.flaw("SGL longer than the data");
            }
            1 => {
                pieces = self.cut(bytes - 4);
                self.flaw("SGL shorter than the data");
            }
            2 => {
                pieces[last].identifier = self.numbers.pick(&[0x60, 0xE0, 0xF0]);
                self.flaw("SGL descriptor of a type that is reserved or a vendor's");
            }
            3 => {
                pieces[last].identifier = self.numbers.pick(&[0x40, 0x50]);
                self.flaw("SGL descriptor of a type of other transports");
            }
            4 => {
                pieces[last].identifier = self.numbers.pick(&[0x01, 0x02, 0x0A, 0x0F]);
                self.flaw("SGL data block of a sub type that it does not have");
            }
            5 => {
                pieces[last].identifier = BIT_BUCKET;
                self.flaw("SGL bit bucket");
            }
            _ => return self.wrong_segments(&pieces),
        }
        self.scattered(&pieces);
    }

    /// Segments that do not hang together.
    fn wrong_segments(&mut self, pieces: &[Piece]) {
        self.scattered(pieces);
        let count = pieces.len();
        let mut list = pieces.to_vec();
        let bytes = |count: usize| u32::try_from(count * 16).unwrap();
        let mut head = Piece { at: Place::Lists(0), len: bytes(count), identifier: LAST_SEGMENT };
        let onward = |identifier| Piece { at: Place::Lists(8192), len: bytes(1), identifier };
        let name = match self.numbers.below(8) {
            0 => {
                head.len -= 8;
                "SGL segment of no whole descriptors"
            }
            1 => {
                head.len = 0;
                "SGL segment of no length"
            }
            2 => {
                head.at = NOWHERE;
                "SGL segment nowhere"
            }
            3 => {
                list[count - 1].len = list[count - 1].len.saturating_sub(4);
                if list[count - 1].len == pieces[count - 1].len {
                    return;
                }
                list.push(onward(SEGMENT));
                head.len += 16;
                "SGL segment in the last segment"
            }
            4 => {
                list[count - 1].len = list[count - 1].len.saturating_sub(4);
                if list[count - 1].len == pieces[count - 1].len {
                    return;
                }
                list.push(onward(LAST_SEGMENT));
                head.len += 16;
                "SGL last segment in the last segment"
            }
            5 => {
                head.identifier = SEGMENT;
                "SGL segment that leads to no other"
            }
            6 => {
                list.insert(0, onward(LAST_SEGMENT));
                (head.identifier, head.len) = (SEGMENT, head.len + 16);
                "SGL segment with descriptors behind its last"
            }
            _ => {
                head.identifier |= 1;
                "SGL segment of a sub type that it does not have"
            }
        };
        self.flaw(name);
        let rest = Piece { at: Place::Arena(0), len: 4, identifier: DATA_BLOCK };
        self.shot.lists =
            vec![List::Sgl { at: 0, pieces: list }, List::Sgl { at: 8192, pieces: vec![rest] }];
        self.shot.pointer = Pointer::Sgl(head);
    }

    fn blocks_alone(&mut self, flawed: bool) {
        self.shot.writes = self.shot.entry.opcode() == NvmOpcode::WRITE_ZEROES.into_bits();
        self.aim();
        if self.space.protected {
            // Zeroes with no information of their own are a controller's choice, too.
            let pract = self.shot.writes;
            let check = !self.shot.writes && self.numbers.one_in(2);
            self.prinfo(Prinfo::new().with_pract(pract).with_check_guard(check));
        }
        if flawed {
            self.wrong_blocks();
        } else if self.shot.writes && self.space.metadata == 0 && self.numbers.one_in(2) {
            // What metadata deallocated blocks have is a controller's choice.
            self.shot.entry.cdw12.set(self.shot.entry.cdw12.get() | 1 << 25);
        }
    }

    fn flush(&mut self, flawed: bool) {
        let others: [(&str, u32); 4] = [
            ("NSID 0", 0),
            ("NSID not active", 9),
            ("NSID beyond NN", 0x1_0000),
            ("NSID FFFFFFFFh", NSID_ALL),
        ];
        if flawed {
            let (flaw, nsid) = self.numbers.pick(&others);
            self.elsewhere(flaw, nsid);
        }
    }

    /// Data that are ranges, at any dword of a page.
    fn ranges(&mut self, bytes: Vec<u8>) {
        let at = 4 * self.numbers.below(512);
        self.shot.pointer = Pointer::Prp(Place::Arena(at), Place::Arena(4096));
        self.shot.bytes = vec![(at, bytes)];
    }

    /// Says something of ranges, and asks for nothing: what a controller makes of it is its own affair.
    fn dataset(&mut self, flawed: bool) {
        let count = 1 + self.numbers.below(4);
        let mut ranges: Vec<DatasetRange> = (0..count)
            .map(|_| DatasetRange {
                slba: U64::new(self.numbers.below(WINDOW - 8)),
                llb: U32::new(self.numbers.small(8)),
                ..DatasetRange::default()
            })
            .collect();
        let attributes = DatasetManagementCdw11::new().with_idr(self.numbers.one_in(2));
        self.shot.entry.cdw11 = attributes.into();
        match if flawed { self.numbers.below(3) } else { 9 } {
            0 => self.flaw("range beyond the end"),
            1 => {
                self.shot.entry.cdw11 = DatasetManagementCdw11::new().with_ad(true).into();
                self.flaw("deallocated range beyond the end");
            }
            2 => self.elsewhere("NSID not active", 9),
            _ => {}
        }
        if flawed {
            // It alone: what becomes of deallocated blocks is a controller's choice.
            ranges.truncate(1);
            (ranges[0].slba, ranges[0].llb) = (U64::new(self.space.blocks), U32::new(1));
        }
        let nr_z = u8::try_from(ranges.len() - 1).unwrap();
        self.shot.entry.cdw10 = DatasetManagementCdw10::new().with_nr_z(nr_z).into();
        let bytes = ranges.as_bytes().to_vec();
        self.ranges(bytes);
    }

    fn copy(&mut self, flawed: bool) {
        self.shot.writes = true;
        let count = 1 + self.numbers.below(3);
        let ranges: Vec<CopyRange0> = (0..count)
            .map(|_| CopyRange0 {
                slba: U64::new(self.numbers.below(12)),
                nlb_z: U16::new(u16::try_from(self.numbers.below(4)).unwrap()),
                ..CopyRange0::default()
            })
            .collect();
        // To where nothing is copied from.
        self.shot.entry.set_cdw10_11(16 + self.numbers.below(4));
        let mut format = CopyFormat::FORMAT_0;
        match if flawed { self.numbers.below(3) } else { 9 } {
            0 => {
                format = CopyFormat::from_bits(9);
                self.flaw("reserved descriptor format");
            }
            1 => self.elsewhere("NSID not active", 9),
            2 => {
                format = CopyFormat::FORMAT_1;
                self.flaw("descriptor format 1h with a guard of 16 bits");
            }
            _ => {}
        }
        let nr_z = u32::try_from(count - 1).unwrap();
        self.shot.entry.cdw12 = U32::new(nr_z | u32::from(format.into_bits()) << 8);
        let bytes = ranges.as_bytes().to_vec();
        self.ranges(bytes);
    }
}
