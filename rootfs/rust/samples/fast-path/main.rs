// The fast linker was taken: mold leaves its name and version in the file's .comment, "mold 2.37.1". The letters stand apart here, or they would find
// themselves.
fn main() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    let name = [b'm', b'o', b'l', b'd', b' '];
    let taken = own.windows(7).any(|w| w.iter().zip(name).all(|(a, b)| *a == b) && w[5].is_ascii_digit() && w[6] == b'.');
    println!("taken: {taken}");
}
