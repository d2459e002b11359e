fn main() {
    let nothing: Option<i32> = None;
    nothing.expect("boom");
}
