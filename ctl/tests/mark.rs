//! `pollvsadm mark`: rules for firewall marks, put to a director.

mod toy;

use ctl::mark::{MOST_RULES, command};
use ctl::names::NumericNames;
use ctl::refusal::Refusal;
use ctl::session::{run, run_with_input};
use toy::{Toy, words};

fn say(line: &str, toy: &mut Toy) -> (u8, String, String) {
    let reply = run(&words(line), toy, &NumericNames);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (reply.status, text(reply.stdout), text(reply.stderr))
}

fn done() -> (u8, String, String) {
    (0, String::new(), String::new())
}

#[test]
fn rules_are_kept_in_order_and_listed_as_commands() {
    let mut toy = Toy::default();
    let toy = &mut toy;
    assert_eq!(say("pollvsadm mark", toy), done());
    for line in [
        "pollvsadm mark -A -d 207.175.44.110/31 -p tcp --dport 80:443 --set-mark 1",
        "pollvsadm mark -t mangle -A PREROUTING -s 10.0.0.7 -p udp -m udp --dport 53 -j MARK \
         --set-xmark 0x2/0xffffffff",
        "pollvsadm mark -I --set-mark 3",
        "pollvsadm mark -I 2 -p 47 --set-mark 4",
    ] {
        assert_eq!(say(line, toy), done(), "{line}");
    }
    let lines = "mark -A --set-mark 3\n\
        mark -A -p 47 --set-mark 4\n\
        mark -A -d 207.175.44.110/31 -p tcp --dport 80:443 --set-mark 1\n\
        mark -A -s 10.0.0.7/32 -p udp --dport 53 --set-mark 2\n";
    assert_eq!(say("pollvsadm mark -L -n", toy), (0, lines.to_owned(), String::new()));
    let numbered: String =
        (1..).zip(lines.lines()).map(|(n, line)| format!("{n} {line}\n")).collect();
    assert_eq!(say("pollvsadm mark --line-numbers", toy), (0, numbered, String::new()));
    assert_eq!(toy.marks.iter().map(|rule| command(rule) + "\n").collect::<String>(), lines);
    // The list is what a restore reads.
    let mut again = Toy::default();
    let argv = words("pollvsadm -R");
    run_with_input(&argv, lines.as_bytes(), &mut again, &NumericNames);
    assert_eq!(again.marks, toy.marks);
    let marks = |toy: &Toy| toy.marks.iter().map(|rule| rule.mark).collect::<Vec<_>>();
    for (line, left) in [
        ("pollvsadm mark -D -p all --set-mark 3", &[4, 1, 2][..]),
        ("pollvsadm mark -D 2", &[4, 2]),
        ("pollvsadm mark -F", &[]),
    ] {
        assert_eq!(say(line, toy), done(), "{line}");
        assert_eq!(marks(toy), left, "{line}");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut toy = Toy::default();
    let toy = &mut toy;
    assert_eq!(say("pollvsadm mark -A --set-mark 1", toy), done());
    let before = toy.marks.clone();
    for (line, status, message) in [
        ("-A -i eth0 --set-mark 2", 2, "mark: -i is not known here; "),
        ("-A --set-mark 1/1", 2, "mark: --set-mark 1/1: expected no mask but 0xffffffff"),
        ("list", 2, "mark: unexpected list\n"),
        ("-D --set-mark 2", 255, "mark: no rule has these words; 'mark -L' lists all\n"),
        ("-D 2", 255, "mark: no rule 2: the last one is 1\n"),
        ("-I 3 --set-mark 2", 255, "mark: a rule cannot become number 3: the next one free is 2\n"),
    ] {
        let (code, out, error) = say(&format!("pollvsadm mark {line}"), toy);
        assert_eq!((code, out.as_str()), (status, ""), "{line}");
        assert!(error.starts_with(message) && error.ends_with('\n'), "{line}: {error}");
        assert_eq!(toy.marks, before, "{line}");
    }
    toy.marks = vec![before[0]; MOST_RULES];
    let (status, _, error) = say("pollvsadm mark -A --set-mark 2", toy);
    assert_eq!((status, toy.marks.len()), (255, MOST_RULES));
    assert_eq!(error, "mark: there are 1024 rules, and that is the limit\n");
    toy.broken = Some(Refusal::PermissionDenied);
    let denied = "Permission denied (you must be root)\n".to_owned();
    assert_eq!(say("pollvsadm mark -L", toy), (1, String::new(), denied.clone()));
    assert_eq!(say("pollvsadm mark -F", toy), (255, String::new(), denied));
}

#[test]
fn ipvsadm_has_no_marks_to_give() {
    let mut toy = Toy::default();
    for line in ["ipvsadm mark -A --set-mark 1", "/sbin/ipvsadm mark"] {
        let (status, out, _) = say(line, &mut toy);
        assert!(status != 0 && out.is_empty(), "{line}");
    }
    let reply =
        run_with_input(&words("ipvsadm -R"), b"mark -A --set-mark 1\n", &mut toy, &NumericNames);
    assert!(reply.status != 0 && toy.marks.is_empty());
}
