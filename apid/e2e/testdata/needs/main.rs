use std::io::{Read, Result};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{lchown, symlink};
use std::process::Command;
use std::{fs, io, thread};

fn main() -> Result<()> {
    assert!(Command::new("sh").arg("tools.sh").status()?.success());
    fs::write("new", vec![0u8; 100_000])?;
    symlink("new", "link")?;
    lchown("link", None, Some(1000))?;
    fs::hard_link("new", "hard")?;
    fs::copy("new", "copy")?;
    fs::rename("copy", "moved")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?;
    let reader = thread::spawn(move || -> Result<usize> {
        let mut all = vec![];
        TcpStream::connect(to)?.read_to_end(&mut all)
    });
    io::copy(&mut fs::File::open("new")?, &mut listener.accept()?.0)?;
    assert_eq!(reader.join().unwrap()?, 100_000);
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    sleeper.kill()?;
    sleeper.wait()?;
    println!("done");
    Ok(())
}
