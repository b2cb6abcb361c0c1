//! The data path, on a file of the file system that the build is on.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use p2pdma_linux::io::{
    Access, DirectFile, Direction, Engine, Extent, Means, OpenError, Queue, Request, Watch, extents,
};
use p2pdma_mem::SharedMemory;

const BLOCK: usize = 4096;

/// A file where direct I/O is possible: beside what is built.
fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

fn content(blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK).map(|at| u8::try_from((at / 7 + at / BLOCK) % 251).unwrap()).collect()
}

/// Everything that is under way, by token.
fn drain(queue: &mut Queue, count: usize) -> Vec<(u64, std::io::Result<usize>)> {
    let mut all = Vec::new();
    while all.len() < count {
        queue.wait(Duration::from_secs(10)).unwrap();
        while let Some(completion) = queue.pop() {
            all.push((completion.token, completion.result));
        }
    }
    all.sort_by_key(|(token, _)| *token);
    all
}

fn copy_through(engine: Engine) {
    let data = content(64);
    let (_from, source) = file("source", &data);
    let (_to, sink) = file("sink", b"");
    let source = Arc::new(DirectFile::open(&source, Access::Read).unwrap());
    let sink = Arc::new(DirectFile::open(&sink, Access::Write).unwrap());
    let memory = SharedMemory::anonymous(64 * BLOCK).unwrap();
    let mut queue = Queue::new(engine, 32).unwrap();
    assert_eq!(queue.engine(), engine);
    for (direction, file) in [(Direction::Read, &source), (Direction::Write, &sink)] {
        for half in 0..2 {
            let calls = queue.calls();
            for index in half * 32..(half + 1) * 32 {
                let memory = memory.slice(index * BLOCK..(index + 1) * BLOCK).unwrap();
                let (position, token) = ((index * BLOCK) as u64, index as u64);
                let file = Arc::clone(file);
                queue.push(Request { direction, file, position, memory, token }).unwrap();
            }
            for (turn, (token, result)) in drain(&mut queue, 32).into_iter().enumerate() {
                assert_eq!(token, (half * 32 + turn) as u64);
                assert_eq!(result.unwrap(), BLOCK);
            }
            if engine == Engine::Uring {
                assert!(
                    queue.calls() - calls <= 6,
                    "{} calls for 32 requests",
                    queue.calls() - calls
                );
            }
        }
    }
    sink.sync().unwrap();
    assert!(std::fs::read(sink.path()).unwrap() == data);
}

#[test]
fn io_uring_moves_every_byte_with_few_calls() {
    copy_through(Engine::Uring);
}

#[test]
fn one_request_at_a_time_moves_every_byte() {
    copy_through(Engine::Synchronous);
}

#[test]
fn a_full_queue_gives_the_request_back_and_a_dropped_one_lets_go_of_memory() {
    let (_folder, path) = file("file", &content(4));
    let file = Arc::new(DirectFile::open(&path, Access::Read).unwrap());
    let memory = SharedMemory::anonymous(BLOCK).unwrap();
    let mut queue = Queue::new(Engine::Uring, 2).unwrap();
    let request = |token| Request {
        direction: Direction::Read,
        file: Arc::clone(&file),
        position: 0,
        memory: memory.clone(),
        token,
    };
    queue.push(request(0)).unwrap();
    queue.push(request(1)).unwrap();
    assert_eq!(queue.push(request(2)).unwrap_err().token, 2);
    drop(queue);
    assert_eq!(Arc::strong_count(&file), 1, "nothing is under way any more");
}

#[test]
fn the_end_of_a_file_is_a_short_count_and_what_is_misaligned_an_error() {
    let (_folder, path) = file("file", &content(2)[..BLOCK + 100]);
    let file = Arc::new(DirectFile::open(&path, Access::Read).unwrap());
    assert_eq!(file.size(), (BLOCK + 100) as u64);
    for engine in [Engine::Uring, Engine::Synchronous] {
        let mut queue = Queue::new(engine, 4).unwrap();
        let memory = SharedMemory::anonymous(BLOCK).unwrap();
        for (token, position) in [(0, BLOCK as u64), (1, 8 * BLOCK as u64), (2, 1)] {
            let (file, memory) = (Arc::clone(&file), memory.clone());
            let direction = Direction::Read;
            queue.push(Request { direction, file, position, memory, token }).unwrap();
        }
        let ended = drain(&mut queue, 3);
        assert_eq!(*ended[0].1.as_ref().unwrap(), 100);
        assert_eq!(*ended[1].1.as_ref().unwrap(), 0);
        assert_eq!(ended[2].1.as_ref().unwrap_err().raw_os_error(), Some(libc_einval()));
    }
}

/// EINVAL on every architecture of Linux that is served here.
fn libc_einval() -> i32 {
    rustix::io::Errno::INVAL.raw_os_error()
}

#[test]
fn holes_are_told_from_data() {
    let (_folder, path) = file("file", &content(1));
    let plain = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&plain, &content(1), 64 * BLOCK as u64).unwrap();
    plain.sync_all().unwrap();
    let file = DirectFile::open(&path, Access::Read).unwrap();
    let parts = extents(&file, 0..file.size()).unwrap();
    assert_eq!(parts.iter().map(|part| part.len).sum::<u64>(), 65 * BLOCK as u64);
    assert!(parts.windows(2).all(|pair| pair[0].start + pair[0].len == pair[1].start));
    let data = |at: u64| {
        let holds = |part: &&Extent| (part.start..part.start + part.len).contains(&at);
        parts.iter().find(holds).unwrap().data
    };
    assert!(data(0) && data(64 * BLOCK as u64) && !data(32 * BLOCK as u64), "{parts:?}");
    assert_eq!(extents(&file, 5..5).unwrap().iter().map(|part| part.len).sum::<u64>(), 0);
}

/// A direct read, and one through the page cache, as a watch sees them.
fn watched(means: Means) {
    let (_folder, path) = file("file", &content(256));
    let file = Arc::new(DirectFile::open(&path, Access::Read).unwrap());
    let watch = Watch::begin_by(&file, means).unwrap();
    assert_eq!(watch.means(), Some(means), "Linux 6.5 or later");
    let before = watch.look().unwrap();
    let memory = SharedMemory::anonymous(256 * BLOCK).unwrap();
    let mut queue = Queue::new(Engine::Uring, 4).unwrap();
    let (direction, position, token) = (Direction::Read, 0, 0);
    queue.push(Request { direction, file: Arc::clone(&file), position, memory, token }).unwrap();
    assert_eq!(*drain(&mut queue, 1)[0].1.as_ref().unwrap(), 256 * BLOCK);
    assert_eq!(watch.look().unwrap().staged_since(&before), Some(0));
    let mut plain = std::fs::File::open(&path).unwrap();
    plain.read_exact(&mut vec![0; 16 * BLOCK]).unwrap();
    let after = watch.look().unwrap();
    let staged = after.staged_since(&before).unwrap();
    assert!(staged >= 16 * BLOCK as u64, "{staged}");
    // The page cache itself tells, whether or not this machine has tracepoints that would tell as well.
    assert!(after.cached >= Some(16 * BLOCK as u64), "{after:?}");
}

#[test]
fn a_read_through_the_page_cache_is_seen_and_a_direct_one_is_not() {
    watched(Means::Cachestat);
}

#[test]
fn before_linux_6_5_it_is_seen_as_well() {
    watched(Means::Mincore);
}

#[test]
fn a_page_cache_that_does_not_tell_is_said_to() {
    let (_folder, path) = file("file", &content(1));
    // Locked pages stay: it is as with a file that others own, all of which is said to be there.
    let plain = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mapping = SharedMemory::map_file(&plain, BLOCK).unwrap();
    mapping.lock(0..BLOCK).unwrap();
    let file = Arc::new(DirectFile::open(&path, Access::Read).unwrap());
    let watch = Watch::begin_by(&file, Means::Mincore).unwrap();
    assert_eq!(watch.means(), None);
    let seen = watch.look().unwrap();
    assert_eq!((seen.cached, seen.staged_since(&seen)), (None, None));
}

#[test]
fn a_file_that_grows_is_watched_to_its_end() {
    let (_folder, path) = file("file", b"");
    let file = Arc::new(DirectFile::open(&path, Access::Write).unwrap());
    let watch = Watch::begin_by(&file, Means::Mincore).unwrap();
    let before = watch.look().unwrap();
    std::fs::write(&path, content(8)).unwrap();
    let staged = watch.look().unwrap().staged_since(&before);
    assert_eq!(staged, Some(8 * BLOCK as u64));
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let error = DirectFile::open(folder.path(), Access::Read).unwrap_err();
    assert!(matches!(error, OpenError::Kind { .. }), "{error}");
    let error = DirectFile::open(&folder.path().join("none"), Access::Read).unwrap_err();
    assert!(matches!(error, OpenError::System { .. }), "{error}");
    let mut nameless = tempfile::tempfile_in(folder.path()).unwrap();
    nameless.write_all(&content(1)).unwrap();
    let again = DirectFile::reopen(&nameless, std::path::Path::new("out"), Access::Write).unwrap();
    assert_eq!((again.size(), again.path().to_str()), (BLOCK as u64, Some("out")));
    assert!(again.offset_align() >= 1 && again.memory_align() >= 1 && !again.is_block());
}
