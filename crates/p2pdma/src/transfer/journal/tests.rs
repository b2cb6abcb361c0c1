use proptest::prelude::*;

use super::*;

fn labels() -> Labels {
    vec![("source", "nvme.1 of 7".to_owned()), ("length", "1000".to_owned())]
}

fn notes() -> Labels {
    vec![("partial", "Ab3 100%\nä".to_owned())]
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// A journal with these lines.
    fn written(&self, ranges: &[(u64, u64)]) -> Vec<u8> {
        let mut journal = Journal::create(&self.path(), labels(), notes()).unwrap();
        for (start, end) in ranges {
            journal.add(*start, *end).unwrap();
        }
        std::fs::read(self.path()).unwrap()
    }

    fn open(&self, content: &[u8]) -> Result<Journal, JournalError> {
        std::fs::write(self.path(), content).unwrap();
        Journal::open(&self.path()).map(Option::unwrap)
    }
}

#[test]
fn what_was_written_is_read() {
    let place = Place::new();
    assert!(Journal::open(&place.path()).unwrap().is_none());
    let text = place.written(&[(0, 10), (10, 30), (5, 20), (40, 50)]);
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 8, "what is known is not told");
    let mut journal = place.open(&text).unwrap();
    assert_eq!(journal.durable(), &Parts::new([0..30, 40..50]));
    journal.check(&labels()).unwrap();
    assert_eq!(journal.note("partial"), Some("Ab3 100%25%0A%C3%A4"));
    assert_eq!(journal.note("other"), None);
    let busy = Journal::open(&place.path()).unwrap_err();
    assert!(matches!(busy, JournalError::InUse { .. }), "{busy}");
    journal.add(30, 40).unwrap();
    drop(journal);
    let journal = Journal::open(&place.path()).unwrap().unwrap();
    assert_eq!(journal.durable(), &Parts::whole(50));
    journal.remove().unwrap();
    assert!(Journal::open(&place.path()).unwrap().is_none());
}

#[test]
fn another_job_is_told_by_what_differs() {
    let place = Place::new();
    let text = place.written(&[]);
    let journal = place.open(&text).unwrap();
    let says = |labels: &Labels| journal.check(labels).unwrap_err().to_string();
    let mut other = labels();
    other[0].1 = "nvme.2".to_owned();
    assert!(
        says(&other).ends_with("its source is nvme.1 of 7, this one's is nvme.2"),
        "{}",
        says(&other)
    );
    other = labels();
    other.pop();
    assert!(
        says(&other).ends_with("its length is 1000, this one's is unknown"),
        "{}",
        says(&other)
    );
    other = labels();
    other.push(("block", "512".to_owned()));
    assert!(says(&other).ends_with("its block is unknown, this one's is 512"), "{}", says(&other));
    drop(journal);
    let exists = Journal::create(&place.path(), labels(), notes()).unwrap_err();
    assert!(exists.to_string().contains("exists"), "{exists}");
    assert!(std::fs::read(place.path()).unwrap() == text);
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn what_is_no_journal_is_left_as_it_is() {
    let place = Place::new();
    let whole = place.written(&[]);
    for content in [&b""[..], b"\n", b"some text\n", &[0; 5000], &whole[1..], &whole[..20]] {
        let error = place.open(content).unwrap_err();
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
        assert!(std::fs::read(place.path()).unwrap() == content);
    }
    std::fs::remove_file(place.path()).unwrap();
    std::fs::create_dir(place.path()).unwrap();
    let error = Journal::open(&place.path()).unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    let nowhere = Journal::create(&place.path().join("a/b"), labels(), notes()).unwrap_err();
    assert!(matches!(nowhere, JournalError::System { .. }), "{nowhere}");
}

/// The bytes that a number of flushes have made durable.
fn after(ranges: &[(u64, u64)], count: usize) -> Parts {
    Parts::new(ranges[..count].iter().map(|(start, end)| *start..*end))
}

/// The length of what comes before the first flush.
fn head_of(text: &[u8]) -> usize {
    let begin = line(BEGIN);
    let at = text.windows(begin.len()).position(|window| window == begin.as_bytes());
    at.unwrap() + begin.len()
}

/// Opens what a crash has left, adds to it, and opens it again; what cannot be opened stays as it is.
fn goes_on(place: &Place, torn: &[u8], durable: Option<Parts>) {
    let Some(durable) = durable else {
        place.open(torn).unwrap_err();
        assert!(std::fs::read(place.path()).unwrap() == torn);
        return;
    };
    let mut journal = place.open(torn).unwrap();
    assert_eq!(journal.durable(), &durable);
    assert!(std::fs::read(place.path()).unwrap() == torn, "nothing was added yet");
    journal.add(5000, 5001).unwrap();
    drop(journal);
    let again = Journal::open(&place.path()).unwrap().unwrap();
    let more = Parts::new(durable.ranges().iter().cloned().chain(Some(5000..5001)));
    assert_eq!(again.durable(), &more);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut at every byte, with any bytes behind the cut: it says what its whole lines say, or that it is
    /// none, and never more. Who goes on there loses nothing.
    #[test]
    fn a_cut_never_claims_more_than_was_durable(
        lens in proptest::collection::vec(1..1000_u64, 1..5),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
        once in any::<prop::sample::Index>(),
    ) {
        // It would make a whole line of one that only lacks its end.
        prop_assume!(tail.first() != Some(&b'\n'));
        let place = Place::new();
        let ends = lens.iter().scan(0, |end, len| { *end += len; Some((*end - len, *end)) });
        let ranges: Vec<(u64, u64)> = ends.collect();
        let whole = place.written(&ranges);
        let head = head_of(&whole);
        let once = once.index(whole.len());
        for cut in 0..=whole.len() {
            let mut torn = whole[..cut].to_vec();
            torn.extend(&tail);
            let lines = whole[head.min(cut)..cut].iter().filter(|byte| **byte == b'\n').count();
            match Content::parse(&torn) {
                Ok(content) => prop_assert_eq!(&content.durable, &after(&ranges, lines)),
                Err(_) => prop_assert!(cut < head, "cut at {cut} of a head of {head}"),
            }
            if cut == once {
                goes_on(&place, &torn, (cut >= head).then(|| after(&ranges, lines)));
            }
        }
    }

    /// A byte that differs: the line says nothing, and if others follow, that is told.
    #[test]
    fn damage_never_claims_more(flip in 1..=255_u8, at in any::<prop::sample::Index>()) {
        let place = Place::new();
        let ranges = [(0, 100), (100, 200), (200, 300)];
        let mut text = place.written(&ranges);
        let at = at.index(text.len());
        text[at] ^= flip;
        match place.open(&text) {
            Ok(journal) => prop_assert!(journal.durable().without(&Parts::whole(200)).is_empty()),
            Err(JournalError::Damaged { line, .. }) => prop_assert!((1..=7).contains(&line)),
            Err(JournalError::Foreign { .. }) => prop_assert!(at < 40),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
