//! Keys in a file.

use super::*;

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let file = KeyFile::new("exposed");
    file.write(&format!("a:{}", encoded(1)));
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644] {
        fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();

        let error = file.load().await.unwrap_err();
        assert!(matches!(error, KeySourceError::Exposed { mode: told } if told == mode), "{error:?}");
        assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
    }
    for mode in [0o400, 0o600] {
        fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
        file.load().await.unwrap();
    }
}

#[tokio::test]
async fn a_key_file_is_bounded_and_must_be_there() {
    let file = KeyFile::new("bounded");
    assert!(matches!(file.load().await, Err(KeySourceError::Unreadable(_))));

    let keys = format!("a:{}\n#", encoded(1));
    let rest = 64 * 1024 - keys.len();
    file.write(&format!("{keys}{}", "#".repeat(rest)));
    file.load().await.unwrap();
    file.write(&format!("{keys}{}", "#".repeat(rest + 1)));
    assert!(matches!(file.load().await, Err(KeySourceError::TooLarge)));
}

/// Opening a pipe waits for a writer; a device has no end.
#[cfg(unix)]
#[tokio::test]
async fn a_key_file_is_a_file_and_nothing_hangs_on_what_is_none() {
    let pipe = KeyFile::new("pipe");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&pipe.0).status().unwrap().success());
    for path in [pipe.0.clone(), std::env::temp_dir(), "/dev/zero".into(), "/dev/null".into()] {
        let (done, answer) = std::sync::mpsc::channel();
        let source = FileKeySource::new(&path);
        // In its own thread, so that a hanging load does not hang the test.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = done.send(runtime.block_on(Keyring::load(source)).map(drop));
        });

        let loaded = answer.recv_timeout(std::time::Duration::from_secs(60)).expect("loading does not hang");
        assert!(matches!(loaded, Err(KeySourceError::NotAFile)), "{path:?}: {loaded:?}");
    }
}

/// A program that is started meanwhile does not get it.
#[cfg(unix)]
#[test]
fn a_key_file_is_not_inherited() {
    let keys = KeyFile::new("inherited");
    keys.write(&format!("a:{}", encoded(1)));

    let file = source::open(&keys.0).unwrap();

    assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}
