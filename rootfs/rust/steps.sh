# Where cargo looks whatever the working directory is.
mkdir /.cargo
mv cargo.toml /.cargo/config.toml
