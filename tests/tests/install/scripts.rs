//! The scripts around `-S` and `-R`.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::{folder, path_with, program, read, text};

/// Runs a wrapper script in a folder with an `ipvsadm` that writes down what it is asked.
fn script(name: &str, words: &[&str], input: &str, beside: bool) -> (Output, String) {
    let place = folder();
    let (sbin, elsewhere) = (place.path().join("sbin"), place.path().join("bin"));
    for folder in [&sbin, &elsewhere] {
        fs::create_dir(folder).expect("a folder");
    }
    let log = place.path().join("log");
    let tool = if beside { &sbin } else { &elsewhere }.join("ipvsadm");
    let body =
        "#!/bin/sh\necho \"$@\" >>\"$LOG\"\n[ \"$1\" != -R ] || { cat >>\"$LOG\"; exit 7; }\n";
    program(&tool, body);
    program(&sbin.join(name), &read(&format!("ctl/scripts/{name}")));
    let mut child = Command::new(sbin.join(name))
        .args(words)
        .env("PATH", path_with(&elsewhere))
        .env("LOG", &log)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A script that ends without reading is no failure here.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    (output, fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn save_passes_n_and_refuses_other_options() {
    for beside in [true, false] {
        for (words, asked) in [(&[][..], "-S\n"), (&["-n"], "-S -n\n"), (&["word"], "-S\n")] {
            let (output, log) = script("ipvsadm-save", words, "", beside);
            assert_eq!((output.status.code(), log.as_str()), (Some(0), asked), "{words:?}");
        }
    }
    for words in [&["-x"][..], &["-n", "--numeric"], &["-nn"]] {
        let (output, log) = script("ipvsadm-save", words, "", true);
        let help = "ipvsadm-save: Script to save the IPVS table to stdout.\n   \
                    With the -n option, prints out the table in numeric format.\n";
        assert_eq!((output.status.code(), log.as_str()), (Some(1), ""), "{words:?}");
        assert_eq!((text(&output.stderr).as_str(), output.stdout.len()), (help, 0), "{words:?}");
    }
}

#[test]
fn restore_clears_and_passes_all_but_comments() {
    let rules = "# saved\n-A -t 10.0.0.1:80 -s wlc\n # kept\n#-C\n-A -f 1 \\n";
    for beside in [true, false] {
        let (output, log) = script("ipvsadm-restore", &["-x"], rules, beside);
        // The status is that of -R.
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(log, "-C\n-R\n-A -t 10.0.0.1:80 -s wlc\n # kept\n-A -f 1 \\n\n");
    }
}
