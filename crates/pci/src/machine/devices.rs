//! Devices, as the file has them: what they are below is still a name.

use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

use super::error::{MachineError, Problem};
use super::model::{BarMemory, Cmb, CmbUses, Media, MediaTiming, Model, Namespace, Nvme, Pmr};
use super::ports::{LinkEnd, default_port_link};
use super::reader::{Field, Form, Name, Table};
use super::value::{self, AcsWord};
use crate::BarIndex;
use crate::topology::{EgressVector, Link};

type Result<T> = std::result::Result<T, MachineError>;

const NVME: Form = Form {
    place: "[[nvme]]",
    keys: &[
        "name",
        "below",
        "function",
        "link",
        "link-max",
        "acs",
        "egress",
        "namespace",
        "cmb",
        "pmr",
        "queues",
        "queue-entries",
        "mdts",
        "read-latency",
        "write-latency",
        "read-bandwidth",
        "write-bandwidth",
        "subsystem",
    ],
};
const NAMESPACE: Form = Form {
    place: "[[nvme.namespace]]",
    keys: &["size", "block", "metadata", "protection", "media"],
};
const CMB: Form = Form { place: "cmb", keys: &["size", "bar", "bar-size", "offset", "uses"] };
const PMR: Form = Form { place: "pmr", keys: &["size", "bar"] };
const BAR_MEMORY: Form = Form {
    place: "[[bar-memory]]",
    keys: &["name", "below", "function", "link", "link-max", "acs", "egress", "size", "window"],
};
const DATA_MOVER: Form = Form {
    place: "[[data-mover]]",
    keys: &["name", "below", "function", "link", "link-max", "acs", "egress"],
};

pub(super) struct RawFunction {
    pub(super) name: Name,
    pub(super) below: Name,
    pub(super) number: u8,
    pub(super) end: LinkEnd,
    pub(super) acs: Option<AcsWord>,
    /// With its place.
    pub(super) egress: Option<(EgressVector, usize)>,
    pub(super) model: Model,
}

/// All functions, those of one kind in the file's order.
pub(super) fn functions(root: &Table<'_>) -> Result<Vec<RawFunction>> {
    const SSD: Link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    let mut functions = Vec::new();
    for table in root.tables("nvme", &NVME)? {
        functions.push(function(&table, SSD, Model::Nvme(nvme(&table)?))?);
    }
    for table in root.tables("bar-memory", &BAR_MEMORY)? {
        let model = Model::BarMemory(bar_memory(&table)?);
        functions.push(function(&table, default_port_link(), model)?);
    }
    for table in root.tables("data-mover", &DATA_MOVER)? {
        functions.push(function(&table, default_port_link(), Model::DataMover)?);
    }
    Ok(functions)
}

fn function(table: &Table<'_>, default_link: Link, model: Model) -> Result<RawFunction> {
    let egress = |field: &Field<'_>| {
        let items = field.list("a list of function numbers such as [1, 2]")?;
        let numbers: Result<Vec<u8>> = items.iter().map(|item| item.small(0..=7)).collect();
        Ok((EgressVector::listing(numbers?), field.at()))
    };
    Ok(RawFunction {
        name: value::component_name(&table.need("name")?)?,
        below: table.need("below")?.name("the name of a port")?,
        number: table.read("function", |field| field.small(0..=7))?.unwrap_or(0),
        end: LinkEnd::read(table, default_link)?,
        acs: table.read("acs", value::function_acs)?,
        egress: table.read("egress", egress)?,
        model,
    })
}

fn nvme(table: &Table<'_>) -> Result<Nvme> {
    let namespaces = table.tables("namespace", &NAMESPACE)?;
    let namespaces: Result<Vec<Namespace>> = namespaces.iter().map(namespace).collect();
    let cmb = table.read("cmb", cmb)?;
    let pmr = table.read("pmr", pmr)?;
    if let (Some(cmb), Some(pmr), Some(field)) = (&cmb, &pmr, table.get("pmr"))
        && cmb.bar == pmr.bar
    {
        return Err(field.error(Problem::BarTaken {
            bar: pmr.bar.get(),
            first: "cmb",
            second: "pmr",
        }));
    }
    let queues = table.read("queues", |field| field.integer(1..=4095))?;
    let entries = table.read("queue-entries", |field| field.integer(2..=65_536))?;
    Ok(Nvme {
        namespaces: namespaces?,
        cmb,
        pmr,
        queue_pairs: queues.and_then(|count| u16::try_from(count).ok()).unwrap_or(64),
        queue_entries: entries.and_then(|count| u32::try_from(count).ok()).unwrap_or(1024),
        max_transfer: table.read("mdts", max_transfer)?.unwrap_or(Some(512 << 10)),
        media: MediaTiming {
            read_latency: table.read("read-latency", value::time)?,
            write_latency: table.read("write-latency", value::time)?,
            read_bandwidth: table.read("read-bandwidth", value::rate)?,
            write_bandwidth: table.read("write-bandwidth", value::rate)?,
        },
        subsystem: table.read("subsystem", value::component_name)?.map(|name| name.text),
    })
}

/// MDTS is a power of two of pages of 4 KiB, and 0 is no limit (NVMe Base 2.1 §5.1.13.2.1).
fn max_transfer(field: &Field<'_>) -> Result<Option<u64>> {
    if field.value().as_str() == Some("none") {
        return Ok(None);
    }
    let bytes = value::size(field)?;
    if bytes.is_power_of_two() && (8 << 10..=256 << 20).contains(&bytes) {
        return Ok(Some(bytes));
    }
    Err(field.bad_value(
        &value::shown(field),
        "a power of two from 8k to 256M, or \"none\" for no limit",
    ))
}

/// Larger than any SSD, and small enough for a table of what was written.
const LARGEST_NAMESPACE: u64 = 1 << 50;

fn namespace(table: &Table<'_>) -> Result<Namespace> {
    let choose = |key, choices: &'static [u64], default| {
        let read = |field: &Field<'_>| {
            let value = field.integer(0..=u64::from(u16::MAX))?;
            let names: Vec<String> = choices.iter().map(ToString::to_string).collect();
            match choices.contains(&value) {
                true => Ok(value),
                false => Err(field.bad_value(&value.to_string(), names.join(" or "))),
            }
        };
        let value = table.read(key, read)?.unwrap_or(default);
        // Every choice fits.
        Ok(u16::try_from(value).unwrap_or(u16::MAX))
    };
    let block = u32::from(choose("block", &[512, 4096], 512)?);
    let size = table.need("size")?;
    let bytes = value::size(&size)?;
    if bytes == 0 || !bytes.is_multiple_of(u64::from(block)) || bytes > LARGEST_NAMESPACE {
        let expected = format!("a multiple of the block size, {block}, from one block to 1024T");
        return Err(size.bad_value(&value::shown(&size), expected));
    }
    let namespace = Namespace {
        size: bytes,
        block,
        metadata: choose("metadata", &[0, 8, 16, 64], 0)?,
        protection: table.read("protection", |field| field.small(0..=3))?.unwrap_or(0),
        media: table.read("media", media)?.unwrap_or_default(),
    };
    if namespace.protection > 0 && namespace.metadata < 8 {
        let reason = "protection needs 'metadata' of at least 8 bytes a block";
        return Err(table.error(Problem::Contradiction(reason)));
    }
    Ok(namespace)
}

fn media(field: &Field<'_>) -> Result<Media> {
    field.choice(&[
        ("persistent", Media::Persistent),
        ("memory", Media::Memory),
        ("null", Media::Null),
    ])
}

fn cmb(field: &Field<'_>) -> Result<Cmb> {
    if field.value().as_table().is_none() {
        return checked_cmb(field, value::size(field)?, None);
    }
    let table = field.table(&CMB)?;
    let size = table.need("size")?;
    checked_cmb(&size, value::size(&size)?, Some(&table))
}

/// The rest of a CMB whose size is known, checked; `at` is where the size stands.
fn checked_cmb(at: &Field<'_>, size: u64, table: Option<&Table<'_>>) -> Result<Cmb> {
    fn read<'a, T>(
        table: Option<&Table<'a>>,
        key: &'static str,
        read: impl FnOnce(&Field<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        table.map_or(Ok(None), |table| table.read(key, read))
    }
    let sayable = "a size that CMBSZ can say: up to 1048575 units of 4k, 64k, 1M, 16M, 256M, 4G or 64G, the \
                   offset in the same units";
    if !cmbsz_can_say(size, 0) {
        return Err(at.bad_value(&value::shown(at), sayable));
    }
    let offset = read(table, "offset", |field| match value::size(field)? {
        offset if cmbsz_can_say(size, offset) => Ok(offset),
        _ => Err(field.bad_value(&value::shown(field), sayable)),
    })?;
    let offset = offset.unwrap_or(0);
    // Both are below 2^56.
    let end = size + offset;
    let given = read(table, "bar-size", value::bar_size)?;
    let bar_size = given.unwrap_or_else(|| end.next_power_of_two().max(4096));
    if end > bar_size {
        return Err(at.error(Problem::BeyondBar { what: "cmb", end, bar: bar_size }));
    }
    Ok(Cmb {
        size,
        bar: read(table, "bar", bar)?.unwrap_or(BAR2),
        bar_size,
        offset,
        uses: read(table, "uses", uses)?.unwrap_or(CmbUses {
            submission_queues: true,
            completion_queues: true,
            lists: true,
            read_data: true,
            write_data: true,
        }),
    })
}

/// Whether size and offset fit the 20-bit fields of CMBSZ and CMBLOC in some common unit (NVMe Base 2.1
/// §3.1.4.11 and §3.1.4.12).
fn cmbsz_can_say(size: u64, offset: u64) -> bool {
    const FIELD: u64 = (1 << 20) - 1;
    let fits = |unit: u64| {
        let whole = size.is_multiple_of(unit) && offset.is_multiple_of(unit);
        whole && size / unit <= FIELD && offset / unit <= FIELD
    };
    size > 0 && (0..=6).any(|szu| fits(4096 << (4 * szu)))
}

const BAR2: BarIndex = bar_index(2);
const BAR4: BarIndex = bar_index(4);

const fn bar_index(number: u8) -> BarIndex {
    match BarIndex::new(number) {
        Some(index) => index,
        None => BarIndex::ZERO,
    }
}

/// BAR0 and BAR1 hold the registers; the others come in pairs.
fn bar(field: &Field<'_>) -> Result<BarIndex> {
    match field.integer(0..=5)? {
        2 => Ok(BAR2),
        4 => Ok(BAR4),
        other => {
            Err(field.bad_value(&other.to_string(), "2 or 4: 64-bit BARs, 0 has the registers"))
        }
    }
}

fn uses(field: &Field<'_>) -> Result<CmbUses> {
    const USES: &str = "sqs, cqs, lists, rds or wds";
    let mut uses = CmbUses {
        submission_queues: false,
        completion_queues: false,
        lists: false,
        read_data: false,
        write_data: false,
    };
    for item in field.list("a list such as [\"rds\", \"wds\"]")? {
        match item.text(USES)? {
            "sqs" => uses.submission_queues = true,
            "cqs" => uses.completion_queues = true,
            "lists" => uses.lists = true,
            "rds" => uses.read_data = true,
            "wds" => uses.write_data = true,
            other => return Err(item.bad_value(other, USES)),
        }
    }
    Ok(uses)
}

fn pmr(field: &Field<'_>) -> Result<Pmr> {
    if field.value().as_table().is_none() {
        return Ok(Pmr { size: value::bar_size(field)?, bar: BAR4 });
    }
    let table = field.table(&PMR)?;
    Ok(Pmr {
        size: value::bar_size(&table.need("size")?)?,
        bar: table.read("bar", bar)?.unwrap_or(BAR4),
    })
}

fn bar_memory(table: &Table<'_>) -> Result<BarMemory> {
    let field = table.need("size")?;
    let Some(window) = table.get("window") else {
        let size = value::bar_size(&field)?;
        return Ok(BarMemory { size, window: size });
    };
    let (size, shown) = (value::size(&field)?, value::bar_size(&window)?);
    if shown > size {
        let reason = "the window cannot be larger than the memory behind it";
        return Err(window.error(Problem::Contradiction(reason)));
    }
    Ok(BarMemory { size, window: shown })
}
