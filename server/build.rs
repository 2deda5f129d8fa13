//! Makes Rust of the interface that is written as a `.proto` file. protox compiles it, so that
//! building takes no installed protoc.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const FOLDER: &str = "proto";
const FILE: &str = "coupon/v1/coupon.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}/{FILE}");
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("coupon.binpb");
    std::fs::write(&descriptors, protox::compile([FILE], [FOLDER])?.encode_to_vec())?;
    connectrpc_build::Config::new()
        .descriptor_set(descriptors)
        .files(&[FILE])
        .include_file("_connectrpc.rs")
        .compile()?;
    Ok(())
}
