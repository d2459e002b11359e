use std::{env, fs, io::Read, path::Path};

fn contains(content: &[u8], word: &[u8]) -> bool {
    content.windows(word.len()).any(|w| w == word)
}

fn walk(folder: &Path, secret: &[u8], own: &[u8]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for e in entries.flatten() {
        let Ok(kind) = e.file_type() else { continue };
        let path = e.path();
        if kind.is_dir() {
            walk(&path, secret, own);
        }
        let name = e.file_name();
        if !kind.is_file() || ["mem", "kmsg", "pagemap", "kcore"].iter().any(|n| name == *n) {
            continue;
        }
        let mut content = Vec::new();
        if let Ok(f) = fs::File::open(&path) {
            let _ = f.take(1 << 20).read_to_end(&mut content);
        }
        if contains(&content, secret) {
            println!("SECRET in {}", path.display());
        }
        if contains(&content, own) {
            println!("own");
        }
    }
}

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let words: Vec<Vec<u8>> = text.split_whitespace().map(|w| w.bytes().rev().collect()).collect();
    for root in env::args().skip(1) {
        walk(Path::new(&root), &words[0], &words[1]);
    }
}
