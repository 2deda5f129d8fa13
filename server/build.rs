//! Makes Rust of the interface that is written as a `.proto` file. protox compiles it, so that
//! building takes no installed protoc.

use std::error::Error;
use std::fs::{self, File};
use std::path::PathBuf;

use prost::Message;

const FOLDER: &str = "proto";
const FILE: &str = "coupon/v1/coupon.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let source = PathBuf::from(FOLDER).join(FILE);
    println!("cargo::rerun-if-changed={}", source.display());
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("coupon.binpb");
    fs::write(&descriptors, protox::compile([FILE], [FOLDER])?.encode_to_vec())?;
    // As old as its source: Cargo is told to watch it too, and would build the server anew each time.
    let written = fs::metadata(&source)?.modified()?;
    File::options().write(true).open(&descriptors)?.set_modified(written)?;
    connectrpc_build::Config::new()
        .descriptor_set(descriptors)
        .files(&[FILE])
        .include_file("_connectrpc.rs")
        .compile()?;
    Ok(())
}
