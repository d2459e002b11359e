use std::io;

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
fn main() {
    let left: Vec<String> = std::env::args().skip(1).collect();
    for line in io::stdin().lines().map_while(Result::ok) {
        let Some((name, number)) = line.split_once(' ') else { continue };
        let Ok(count) = number.parse::<usize>() else { continue };
        if !left.iter().any(|l| l == name) {
            println!("{name:8} \x1b[33m{}\x1b[0m {count}", "█".repeat(count));
        }
    }
}
