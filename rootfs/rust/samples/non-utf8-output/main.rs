use std::io::Write;

fn main() {
    std::io::stdout().write_all(b"\xff\xfe\x00A\n").unwrap();
}
