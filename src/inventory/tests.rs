use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

fn of_text(name: &str, text: &str) -> Inventory {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), name, text);
    Inventory::load(&[Source::Path(path)], &Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn names(inventory: &Inventory, hosts: &[HostIndex]) -> Vec<String> {
    hosts.iter().map(|host| inventory.host_name(*host).to_string()).collect()
}

#[test]
fn members_come_level_by_level_as_ansible_lists_them() {
    let inventory = of_text(
        "hosts",
        "[top:children]\nleft\nright\n[top]\nt\n[left:children]\ndeep\n[deep]\nd\n[right]\nr\nt\n[left]\nl\n[solo]\ns",
    );
    let top = inventory.group("top").unwrap();
    assert_eq!(names(&inventory, &inventory.members(top)), ["t", "l", "r", "d"]);
    assert_eq!(names(&inventory, inventory.direct_members(top)), ["t"]);
    assert_eq!(names(&inventory, &inventory.members(Inventory::ALL)), ["t", "s", "l", "r", "d"]);
    let groups = inventory.groups_of(inventory.host("d").unwrap());
    assert_eq!(groups.iter().map(|group| inventory.group_name(*group)).collect::<Vec<_>>(), ["top", "left", "deep"]);
}

#[test]
fn a_variable_knows_where_it_was_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hosts", "[web]\nh1 a=1 b='x y'\n[web:vars]\n  c = 3\n");
    write(folder.path(), "group_vars/web.yml", "d: 1\ne:\n  - 2\n");
    let inventory = Inventory::load(&[Source::Path(path)], &Options::default()).unwrap();
    let host = inventory.host("h1").unwrap();
    for (name, place) in [("a", "hosts:2:4"), ("b", "hosts:2:8"), ("c", "hosts:4:3"), ("e", "group_vars/web.yml:2:1")] {
        let variable = inventory.variable(host, name).unwrap();
        let told = inventory.describe(variable.origin);
        assert!(told.ends_with(&format!("/{place}")), "{name}: {told}");
        assert_eq!(inventory.variables(host).get(name), Some(&variable.value));
    }
    assert!(inventory.variable(host, "nothing").is_none());
}

#[test]
fn hosts_without_variables_of_their_own_share_one_map() {
    let inventory = of_text("hosts", "[web]\nh[1:3]\nown a=2\n[web:vars]\na=1\n");
    let map = |name: &str| inventory.variables(inventory.host(name).unwrap());
    assert!(Arc::ptr_eq(&map("h1"), &map("h3")));
    assert_eq!(map("own").get("a"), Some(&Value::from(2)));
}

#[test]
fn the_hosts_of_the_ssh_config_join_without_losing_what_they_have() {
    let mut inventory = of_text("hosts", "lonely\n[web]\nh1 a=1\n[web:vars]\nb=2\n");
    let hosts = ["h1", "new", "lonely", "h1"].map(|name| HostName::new(name).unwrap());
    let group = inventory.add_group_of_hosts("ssh_config", hosts);
    assert_eq!(names(&inventory, inventory.direct_members(group)), ["h1", "new", "lonely"]);
    let h1 = inventory.host("h1").unwrap();
    assert_eq!(inventory.variables(h1).len(), 2);
    assert_eq!(inventory.groups_of(h1).len(), 2);
    assert!(inventory.variables(inventory.host("new").unwrap()).is_empty());
    assert_eq!(names(&inventory, &inventory.members(Inventory::ALL)), ["lonely", "h1", "new"]);
    assert_eq!(inventory.add_group_of_hosts("ssh_config", []), group);
}

#[test]
fn magic_variables_are_ansibles() {
    let inventory = of_text("hosts", "[web]\nweb01.example.com\n10.0.0.1\n[prod:children]\nweb\n");
    let magic = |host: &str, name: &str| inventory.magic_variable(inventory.host(host).unwrap(), name).unwrap();
    assert_eq!(magic("web01.example.com", "inventory_hostname_short"), Value::from("web01"));
    assert_eq!(magic("10.0.0.1", "inventory_hostname_short"), Value::from("10.0.0.1"));
    assert_eq!(magic("10.0.0.1", "group_names"), Value::from(vec!["prod", "web"]));
}

#[test]
fn nothing_that_may_be_secret_shows_in_debug() {
    let inventory = of_text("hosts", "h1 ansible_password=hunter2\n[all:vars]\nansible_become_pass=hunter2\n");
    let host = inventory.host("h1").unwrap();
    let (connection, faults) = ConnectionVariables::read(|name| inventory.variable(host, name).map(|v| &v.value));
    assert_eq!((connection.password.as_ref().unwrap().expose(), faults.len()), ("hunter2", 0));
    assert_eq!(inventory.connection_variables(host).len(), 2);
    let shown = format!("{inventory:?} {connection:?} {:?}", inventory.hosts[0].variables);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_argument_is_a_list_of_hosts_only_where_no_file_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let odd = write(folder.path(), "a,b", "h\n");
    assert_eq!(Source::parse(odd.to_str().unwrap()), Source::Path(odd));
    assert_eq!(Source::parse("h1,"), Source::Hosts("h1,".into()));
    assert_eq!(Source::parse("-"), Source::StandardInput);
    assert_eq!(Source::parse("inventory.yaml"), Source::Path("inventory.yaml".into()));
    let inventory = Inventory::load(&[Source::Hosts("web[1-2,4],db:2222, x ".into())], &Options::default()).unwrap();
    let all: Vec<String> = inventory.hosts().map(|(_, name)| name.to_string()).collect();
    assert_eq!(all, ["web1", "web2", "web4", "db", "x"]);
    let port = inventory.variable(inventory.host("db").unwrap(), "ansible_port").unwrap();
    assert_eq!((port.value.as_u64(), inventory.describe(port.origin).as_str()), (Some(2222), "web[1-2,4],db:2222, x "));
}

#[test]
fn the_default_inventory_is_one_that_nobody_else_could_have_put_there() {
    let folder = tempfile::tempdir().unwrap();
    let user = rustix::process::geteuid().as_raw();
    let around = Surroundings {
        variable: None,
        directory: folder.path().to_owned(),
        config: Some(folder.path().join("config")),
        user,
    };
    assert_eq!(discover(&around), Discovered::default());
    let own = write(folder.path(), "config/inventory.yaml", "all:\n");
    assert_eq!(discover(&around).sources, [Source::Path(own.clone())]);
    let ini = write(folder.path(), "inventory.ini", "h\n");
    assert_eq!(discover(&around).sources, [Source::Path(ini)]);
    let yaml = write(folder.path(), "inventory.yaml", "all:\n");
    assert_eq!(discover(&around).sources, [Source::Path(yaml.clone())]);
    fs::set_permissions(&yaml, fs::Permissions::from_mode(0o646)).unwrap();
    let found = discover(&around);
    assert_eq!(found.sources.len(), 1, "the next one is taken");
    assert!(
        found.warnings[0].to_string().ends_with("inventory.yaml: is owned by you, mode 0646: others can change it")
    );
    let foreign = Surroundings { user: user + 1, ..around.clone() };
    // Root's files are trusted, others' are not.
    assert_eq!(discover(&foreign).sources == [Source::Path(own)], user != 0);
    let named = Surroundings { variable: Some("x.yml".into()), ..around };
    assert_eq!(discover(&named).sources, [Source::Path("x.yml".into())]);
}

#[test]
fn a_chain_of_many_groups_is_settled_in_linear_time() {
    let mut text = String::new();
    for level in 0..20_000 {
        text += &format!("[g{level}:children]\ng{}\n[g{level}:vars]\nv={level}\n", level + 1);
    }
    text += "[g20000]\nh\n";
    let inventory = of_text("hosts", &text);
    let host = inventory.host("h").unwrap();
    assert_eq!(inventory.variable(host, "v").unwrap().value, Value::from(19_999));
    assert_eq!(inventory.groups_of(host).len(), 20_001);
}
