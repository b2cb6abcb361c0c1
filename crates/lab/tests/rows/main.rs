//! The kernel's rules for memory that devices lend, row by row: what a program gets that uses such memory
//! as a buffer, beside what we take for granted (`table.rs`). A row names the kernel that it holds for and
//! the place in its source; where a kernel differs the test says which row, and how.
//!
//! Three boots serve all rows; the program that runs in them is the example `kernel_rows`.
//! `cargo xtask rows` runs this.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first thing that is wrong"
)]
#![expect(clippy::print_stdout, reason = "the counts are for people")]

mod boot;
mod compare;
mod table;

use std::time::Instant;

use compare::Comparison;

#[test]
#[ignore = "boots three guests: cargo xtask rows"]
fn the_kernel_does_what_every_row_says() {
    let begin = Instant::now();
    let plain = boot::rows("all", &[]);
    // Every namespace has a head then, and not only what has several paths (drivers/nvme/host/multipath.c).
    let heads = boot::rows("heads", &["nvme_core.multipath_always_on=1"]);
    let vfio = boot::rows("vfio", &[]);
    let all = Comparison::of(&(plain + &heads + &vfio), table::ROWS);
    println!("3 boots in {:.1} s: {all}", begin.elapsed().as_secs_f32());
    assert!(all.differences.is_empty(), "{}", all.differences.join("\n"));
}

#[test]
fn a_row_that_differs_is_named_with_what_was_expected_and_where_that_is_from() {
    let rows =
        [table::Row { name: "x", reached: "ok", beyond: "EINVAL", kernel: "7.3", source: "y.c" }];
    let compare = |text: &str| Comparison::of(text, &rows).differences;
    assert!(compare("kernel 7.3.4\nrow x P ok\nrow x N EINVAL\n").is_empty());
    assert_eq!(
        compare("kernel 7.4.1\nrow x P ok staged\nrow z P ok\n"),
        [
            "x, P: Linux 7.3 says 'ok' (y.c), Linux 7.4.1 'ok staged'",
            "x, N: Linux 7.3 says 'EINVAL' (y.c), Linux 7.4.1 nothing",
            "z, P: nothing is expected, Linux 7.4.1 says 'ok'",
        ]
    );
}
