use std::io::{BufWriter, Write};

fn main() {
    let mut out = BufWriter::new(std::io::stdout());
    let line = &"0123456789abcdef".repeat(4)[..63];
    for _ in 0..16384 {
        writeln!(out, "{line}").unwrap();
    }
}
