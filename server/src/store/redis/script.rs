//! Scripts, and calls of them.

use redis::{Arg, Cmd, ToRedisArgs};

/// A script that Redis runs alone, from its first line to its last.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// A call over these keys, which are in one hash slot.
    pub(super) fn over(&self, keys: &[String]) -> Call<'_> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys);
        Call { script: self, command }
    }
}

/// A call of a script.
pub(super) struct Call<'a> {
    script: &'a Script,
    command: Cmd,
}

impl Call<'_> {
    pub(super) fn arg<T: ToRedisArgs>(&mut self, arg: T) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// For a Redis that knows the script.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command.clone()
    }

    /// For one that does not, and will from now on.
    pub(super) fn with_code(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.script.code);
        // The same but for the hash, and there are no cursors in a call.
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(arg) = arg {
                command.arg(arg);
            }
        }
        command
    }
}
