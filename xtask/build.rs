//! Passes the host's target triple on.

fn main() {
    let host = std::env::var("HOST").unwrap_or_default();
    println!("cargo::rustc-env=P2PDMA_HOST={host}");
}
