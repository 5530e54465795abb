//! Secrets in every format, by example and in files made of them at random.

use proptest::prelude::*;

use super::*;
use crate::core::diff::{Difference, difference};

/// What stands in the place of a secret: it looks like nothing in particular, so that only its place tells it.
const MARK: &str = "hunter2";

/// A format: what a file says in it, with the secret as `@`, and what of that must still be seen.
struct Row {
    format: &'static str,
    text: &'static str,
    seen: &'static [&'static str],
}

const fn row(format: &'static str, text: &'static str, seen: &'static [&'static str]) -> Row {
    Row { format, text, seen }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // JSON
    row("json", "{\n  \"level\": 3,\n  \"password\": \"@\",\n  \"host\": \"db\"\n}\n", &["\"level\": 3,", "\"password\": \"(hidden", "\"host\": \"db\""]),
    row("json on one line", "{\"level\": 3, \"password\": \"@\", \"b\": 1}\n", &["\"level\": 3", "\"password\": "]),
    row("json array", "{\n\"tokens\": [\n\"@\",\n\"@\"\n],\n\"level\": 3\n}\n", &["\"tokens\": [", "\"level\": 3"]),
    row("json array on one line", "{\n  \"pins\": [1, \"@\"],\n  \"level\": 3\n}\n", &["\"level\": 3"]),
    row("json object", "{\n  \"auth\": {\n    \"user\": \"@\"\n  },\n  \"level\": 3\n}\n", &["\"auth\": {", "\"level\": 3"]),
    row("json object without indentation", "{\n\"auth\": {\n\"user\": \"@\"\n},\n\"level\": 3\n}\n", &["\"level\": 3"]),
    row("json value below its key", "{\n\"password\":\n\"@\",\n\"level\": 3\n}\n", &["\"level\": 3"]),
    row("json pair", "[\n  {\n    \"name\": \"DB_PASSWORD\",\n    \"value\": \"@\"\n  },\n  {\n    \"name\": \"LEVEL\",\n    \"value\": \"3\"\n  }\n]\n", &["\"DB_PASSWORD\"", "\"LEVEL\"", "\"value\": \"3\""]),
    row("json pair, value first", "[\n  {\n    \"value\": \"@\",\n    \"name\": \"DB_PASSWORD\"\n  },\n  {\n    \"value\": \"3\",\n    \"name\": \"LEVEL\"\n  }\n]\n", &["\"DB_PASSWORD\"", "\"LEVEL\"", "\"value\": \"3\""]),
    row("json pair on one line", "[{\"name\": \"DB_PASSWORD\", \"value\": \"@\"},\n{\"name\": \"LEVEL\", \"value\": \"3\"}]\n", &["DB_PASSWORD", "\"value\": \"3\""]),
    row("json pair on one line, value first", "[{\"value\": \"@\", \"name\": \"DB_PASSWORD\"},\n{\"value\": \"3\", \"name\": \"LEVEL\"}]\n", &["DB_PASSWORD", "\"value\": \"3\""]),
    row("json pair, badly laid out", "[{\"name\": \"DB_PASSWORD\",\n\"id\": 7, \"value\": \"@\"},\n{\"level\": 3}]\n", &["DB_PASSWORD", "\"level\": 3"]),
    row("json key that is a token", "{\"sk_live_@0000\": \n1}\n", &[]),
    row("json in a string", "{\n  \"body\": \"{\\\"password\\\":\\\"@\\\"}\",\n  \"level\": 3\n}\n", &["\"body\"", "\"level\": 3"]),
    row("json arguments", "{\n  \"command\": [\n    \"run\",\n    \"--token\",\n    \"@\"\n  ],\n  \"level\": 3\n}\n", &["\"run\"", "\"--token\"", "\"level\": 3"]),
    row("json arguments on one line", "{\n\"command\": [\"mysql\", \"-p\", \"@\"],\n\"level\": 3\n}\n", &["\"mysql\"", "\"level\": 3"]),
    row("json with PEM", "{\n  \"tls\": \"-----BEGIN RSA PRIVATE KEY-----\\n@\\n-----END RSA PRIVATE KEY-----\\n\",\n  \"level\": 3\n}\n", &["\"tls\"", "\"level\": 3"]),
    // YAML
    row("yaml", "level: 3\npassword: @\nhost: db\n", &["level: 3\n", "password: (hidden", "host: db\n"]),
    row("yaml, quoted", "password: '@'   # it''s old\nlevel: 3\n", &["password: ", "level: 3\n"]),
    row("yaml below", "db:\n  password:\n    - @\n    - \"@\"\n  host: db\n", &["password:\n", "host: db\n"]),
    row("yaml list in the same column", "tokens:\n- @\n- @\nlevel: 3\n", &["tokens:\n", "level: 3\n"]),
    row("yaml literal block", "key: |\n  @\n\n  @\nlevel: 3\n", &["key: |\n", "level: 3\n"]),
    row("yaml folded block", "db:\n  password: >-\n    @\n    @\n  host: db\n", &["password: >-\n", "host: db\n"]),
    row("yaml block with a tag and a number", "secret: !!binary |2+ # here\n    @\n  @\nlevel: 3\n", &["level: 3\n"]),
    row("yaml plain value on two lines", "password: correct\n  @\nlevel: 3\n", &["level: 3\n"]),
    row("yaml quoted value on two lines", "password: \"correct\n  horse\n@\"\nlevel: 3\n", &["level: 3\n"]),
    row("yaml flow", "db: {user: u, password: @}\nlevel: 3\n", &["user: u", "level: 3\n"]),
    row("yaml flow on two lines", "secrets: {a: @,\nb: @}\nlevel: 3\n", &["level: 3\n"]),
    row("yaml pair", "env:\n- name: DB_PASSWORD\n  value: @\n- name: LEVEL\n  value: three\n", &["DB_PASSWORD", "value: three\n"]),
    row("yaml pair, value first", "env:\n  - value: @\n    name: DB_PASSWORD\n  - value: three\n    name: LEVEL\n", &["DB_PASSWORD", "value: three\n"]),
    row("yaml pair with more", "env:\n- id: 7\n  value: \"@\"\n  name: DB_PASSWORD\n- level: 3\n", &["DB_PASSWORD", "level: 3\n"]),
    row("yaml pair with a block", "env:\n- name: DB_PASSWORD\n  value: |\n    @\n    @\n- level: 3\n", &["DB_PASSWORD", "level: 3\n"]),
    row("yaml arguments", "args:\n- --token\n- @\n- --level\n- three\n", &["--token\n", "three\n"]),
    row("yaml secret of Kubernetes", "kind: Secret\ndata:\n  user: @\n", &["kind: Secret\n"]),
    row("yaml key in quotes", "\"api-key\": @\nlevel: 3\n", &["level: 3\n"]),
    // TOML
    row("toml", "[db]\nlevel = 3\npassword = \"@\"\nhost = \"db\"\n", &["level = 3\n", "password = \"(hidden", "host = \"db\"\n"]),
    row("toml string on several lines", "[db]\npassword = \"\"\"\n@\n@\"\"\"\nlevel = 3\n", &["level = 3\n"]),
    row("toml literal string on several lines", "secret = '''@\n@\n'''\nlevel = 3\n", &["level = 3\n"]),
    row("toml array", "tokens = [\n  \"@\", # don't\n\"@\",\n]\nlevel = 3\n", &["tokens = [\n", "level = 3\n"]),
    row("toml inline table", "db = { host = \"db\", password = \"@\" }\nlevel = 3\n", &["host = \"db\"", "level = 3\n"]),
    row("toml pair", "[[env]]\nname = \"DB_PASSWORD\"\nvalue = \"@\"\n\n[[env]]\nname = \"LEVEL\"\nvalue = \"three\"\n", &["DB_PASSWORD", "value = \"three\"\n"]),
    row("toml dotted key", "db.password = '@'\nlevel = 3\n", &["level = 3\n"]),
    // INI, properties
    row("ini", "[db]\nlevel=3\npassword=@\nhost=db\n", &["level=3\n", "password=(hidden", "host=db\n"]),
    row("ini continued", "[db]\npassword = @\n  @\n\t@\nhost = db\n", &["host = db\n"]),
    row("ini, commented out", "; password = @\n# secret: @\nlevel = 3\n", &["; password = ", "level = 3\n"]),
    row("properties", "db.password: @\ndb.level: 3\n", &["db.level: 3\n"]),
    row("properties, continued", "db.password=correct\\\n@\\\n@\ndb.level=3\n", &["db.level=3\n"]),
    row("properties pair", "param.1.name=password\nparam.1.value=@\n\nlevel=3\n", &["password", "level=3\n"]),
    // XML
    row("xml element", "<db>\n  <password>@</password>\n  <host>db</host>\n</db>\n", &["<password>(hidden", "</password>", "<host>db</host>"]),
    row("xml element on several lines", "<db>\n<password>\n@\n@\n</password>\n<host>db</host>\n</db>\n", &["<host>db</host>"]),
    row("xml element with children", "<auth>\n<user>@</user>\n</auth>\n<host>db</host>\n", &["<host>db</host>"]),
    row("xml element on one line with others", "<db><password>@</password><host>db</host></db>\n", &["<db>", "<host>db</host>"]),
    row("xml element with a prefix", "<x:password a=\"1\">@</x:password>\n<host>db</host>\n", &["<host>db</host>"]),
    row("xml element with CDATA", "<secret><![CDATA[\n@\n]]></secret>\n<host>db</host>\n", &["<host>db</host>"]),
    row("xml attribute", "<db host=\"db\" password=\"@\"/>\n<level>3</level>\n", &["host=\"db\"", "<level>3</level>"]),
    row("xml attributes on several lines", "<db\n  password='@'\n  host='db'/>\n", &["host='db'"]),
    row("xml pair", "<add key=\"DB_PASSWORD\" value=\"@\"/>\n<add name=\"level\" value=\"3\"/>\n", &["value=\"3\""]),
    row("xml pair, value first", "<property value=\"@\" name=\"password\"/>\n<level>3</level>\n", &["<property", "<level>3</level>"]),
    row("xml pair of elements", "<property>\n  <name>db.password</name>\n  <value>@</value>\n</property>\n<property>\n  <name>level</name>\n  <value>3</value>\n</property>\n", &["db.password", "<value>3</value>"]),
    row("xml property list", "<dict>\n<key>Password</key>\n<string>@</string>\n</dict>\n", &["<dict>"]),
    row("xml resource", "<string name=\"api_key\">@</string>\n<string name=\"level\">3</string>\n", &["api_key", ">3<"]),
    // the shell
    row(".env", "LEVEL=3\nDB_PASSWORD=@\nDB_HOST=db\n", &["LEVEL=3\n", "DB_PASSWORD=(hidden", "DB_HOST=db\n"]),
    row("export", "export LEVEL=3\nexport API_KEY='@'\n", &["LEVEL=3\n", "export API_KEY='(hidden"]),
    row("export on several lines", "export SECRET=\"@\n@\n\"\nLEVEL=3\n", &["LEVEL=3\n"]),
    row("here-document", "SECRET=$(cat <<'EOF'\n@\n@\nEOF\n)\nLEVEL=3\n", &["LEVEL=3\n"]),
    row("fish and csh", "set -gx API_TOKEN @\nsetenv DB_PASS @\nset level 3\n", &["API_TOKEN (hidden", "set level 3\n"]),
    row("default", "x=${DB_PASSWORD:-@}\nlevel=3\n", &["level=3\n"]),
    row("flag", "app --level 3 --password @ --host db\napp --password=@\n", &["--level 3 --password (hidden"]),
    row("short flag", "mysql -u bob -p @\nmysql -p@ app\nsshpass -p '@' ssh host\n", &["mysql -u bob -p "]),
    row("flag continued", "app --token \\\n  @ \\\n  --level 3\n", &["app --token"]),
    row("user of curl", "curl -u bob:@ https://example.org\n", &["curl -u bob:(hidden", "https://example.org"]),
    row("header of curl", "curl -H 'Authorization: Bearer @' https://example.org\n", &["curl -H 'Authorization: "]),
    // what services have
    row(".netrc", "machine example.org\nlogin bob\npassword @\nmachine other login u password @\n", &["machine example.org\nlogin bob\n", "machine other login u password "]),
    row(".netrc on its own lines", "machine example.org\npassword\n@\nlogin bob\n", &["machine example.org\n", "login bob\n"]),
    row(".pgpass", "db.example.org:5432:app:bob:@\n*:*:*:bob:@\n", &["db.example.org:5432:app:bob:(hidden"]),
    row("redis", "port 6379\nrequirepass @\nmasterauth @\nmaxclients 3\n", &["port 6379\nrequirepass (hidden", "maxclients 3\n"]),
    row("redis acl", "user bob on >@ ~* +@all\nuser eve on ~* <@\nmaxclients 3\n", &["user bob on ", "maxclients 3\n"]),
    row("nginx", "listen 80;\nproxy_set_header Authorization \"Basic @\";\nssl_certificate_key /etc/@.pem;\nroot /srv;\n", &["listen 80;\n", "proxy_set_header Authorization ", "root /srv;\n"]),
    row("apache", "SetEnv DB_PASS @\nRequestHeader set X-Api-Key \"@\"\nListen 80\n", &["SetEnv DB_PASS ", "Listen 80\n"]),
    row("dockerfile", "FROM scratch\nENV API_KEY @\nENV DB_PASS=@ LEVEL=3\n", &["FROM scratch\n", "ENV API_KEY "]),
    row("terraform", "resource \"x\" \"y\" {\n  password = <<-EOT\n    @\n@\n  EOT\n  level = 3\n}\n", &["level = 3\n"]),
    row("wireguard", "[Interface]\nPrivateKey = @\nListenPort = 3\n", &["ListenPort = 3\n"]),
    row("php", "define('DB_PASSWORD', '@');\n$db['password'] = '@';\n'secret' => '@',\n$level = 3;\n", &["define('DB_PASSWORD', '(hidden", "$level = 3;\n"]),
    row("sql", "CREATE USER bob IDENTIFIED BY '@';\nALTER ROLE bob PASSWORD '@';\nSELECT 3;\n", &["CREATE USER bob", "SELECT 3;\n"]),
    row("connection string", "Server=db;User Id=bob;Password=@;Pooling=true\n", &["Server=db;User Id=bob;Password="]),
    row("connection string of Azure", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=@==;EndpointSuffix=y\n", &["AccountName=x;AccountKey="]),
    row("header", "Host: example.org\nCookie: id=@\nX-Api-Key: @\nAuthorization: Digest\n  response=@\nAccept: */*\n", &["Host: example.org\n", "Accept: */*\n"]),
    row("markdown", "| name | value |\n| password | @ |\n", &["| name | value |\n"]),
    row("ipsec.secrets", ": PSK \"@\"\nbob : EAP \"@\"\n", &["bob : EAP "]),
    row("snmpd", "rocommunity @\ncreateUser bob SHA @ AES\nagentAddress 3\n", &["createUser bob ", "agentAddress 3\n"]),
    row("standard input", "echo bob:@ | chpasswd\necho '@' | sudo -S true\necho @ | docker login --password-stdin\nls\n", &["| chpasswd\n", "ls\n"]),
    row("tuple", "{user, \"bob\"}.\n{password, \"@\"}.\n", &["{user, \"bob\"}.\n", "{password, \"(hidden"]),
    row("table of commas", "user,password\nbob,@\neve,@\n\nlevel\n", &["user,password\n", "level\n"]),
    row("table of lines", "| user | token |\n|------|-------|\n| bob | @ |\nlevel\n", &["| user | token |\n|------|-------|\n", "level\n"]),
    row("npmrc", "registry=https://x.example.org/\n//x.example.org/:_authToken=@\n", &["registry=https://x.example.org/\n", ":_authToken=(hidden"]),
    row("wpa_supplicant", "network={\n  ssid=\"home\"\n  psk=\"@\"\n}\n", &["ssid=\"home\""]),
    row("ldif", "dn: cn=bob\nuserPassword:: @\n", &["dn: cn=bob\n"]),
    row("openvpn", "<auth-user-pass>\nbob\n@\n</auth-user-pass>\nverb 3\n", &["verb 3\n"]),
    row("registry", "\"Password\"=hex:@,\\\n  @,\\\n  @\n\"Level\"=3\n", &["\"Level\"=3\n"]),
    row("bind", "key \"x\" { algorithm hmac-sha256; secret \"@\"; };\nzone \"y\" {};\n", &["zone \"y\" {};\n"]),
    row("yaml complex key", "? password\n: @\nlevel: 3\n", &["level: 3\n"]),
    row("cloud-init", "chpasswd:\n  list: |\n    root:@\nlevel: 3\n", &["level: 3\n"]),
    // by the form
    row("shadow", "bob:$6$salt$@@@:19000:0:99999:7:::\nroot:!:19000:0:99999:7:::\n", &["bob:(hidden", "root:!:19000"]),
    row("htpasswd", "bob:$apr1$abcdefgh$@@\neve:{SHA}@=\nmax:$2y$10$@@@\n", &["bob:(hidden", "eve:{SHA}(hidden"]),
    row("url", "db: postgres://bob:@@db.example.org/app\nweb: https://@@example.org/\nlevel: 3\n", &["db.example.org/app\n", "level: 3\n"]),
    row("user:password@host", "proxy: bob:@@proxy.example.org:3128\nlevel: 3\n", &["proxy: bob:(hidden", "@proxy.example.org:3128\n", "level: 3\n"]),
    row("signature of a URL", "url: https://x.example.org/a?sv=1&sig=@&se=2\nlevel: 3\n", &["https://x.example.org/a?sv=1&sig=", "level: 3\n"]),
    row("webhook", "to: https://hooks.slack.com/services/T0/B0/@\nalso: https://discord.com/api/webhooks/1/@\n", &["to: https://hooks.slack.com/"]),
    row("PEM", "-----BEGIN OPENSSH PRIVATE KEY-----\n@\n@\n-----END OPENSSH PRIVATE KEY-----\nlevel: 3\n", &["level: 3\n"]),
    row("PEM, indented", "x:\n  y: -----BEGIN EC PRIVATE KEY-----\n    @\n  @\n    -----END EC PRIVATE KEY-----\nlevel: 3\n", &["y: ", "level: 3\n"]),
    row("SSH2", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n@\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\nlevel: 3\n", &["level: 3\n"]),
    row("age", "# created: 2026\nAGE-SECRET-KEY-1@@@\nlevel: 3\n", &["# created: 2026\n", "level: 3\n"]),
    row("Stripe", "x: sk_live_@0000\ny: rk_live_@0000\nlevel: 3\n", &["x: (hidden", "level: 3\n"]),
    row("GitHub", "x: gho_@0000 ghu_@0000 ghs_@0000 ghr_@0000 github_pat_@0000\nlevel: 3\n", &["x: (hidden", "level: 3\n"]),
    row("others", "a: AIza@0000\nb: xoxb-@0000\nc: SG.@0.0000\nd: npm_@0000\ne: pypi-@0000\nf: AKIA@0000\ng: ya29.@0000\nh: dop_v1_@0000\ni: hf_@0000\n", &["a: (hidden", "i: (hidden"]),
    row("JSON web token", "x: eyJhbGciOiJIUzI1NiJ9.@.@\nlevel: 3\n", &["x: (hidden", "level: 3\n"]),
    row("by chance", "x: Zk7@Qw9pLx2VbN4mRt8YcD1\nlevel: 3\n", &["x: (hidden", "level: 3\n"]),
    row("by chance, in hexadecimal", "x: 3f9c2ab1d4e5f60718293a4b5c6d7e8f90a1b2c3\nlevel: 3\n", &["x: (hidden", "level: 3\n"]),
];

impl Row {
    fn with(&self, secret: &str) -> String {
        // An `@` that is one is doubled, or stands before a host or a word of Redis.
        let text = self
            .text
            .replace("@@db.", "@\u{0}db.")
            .replace("@@proxy.", "@\u{0}proxy.")
            .replace("@@example.", "@\u{0}example.");
        text.replace("+@all", "+\u{0}all").replace('@', secret).replace('\u{0}', "@")
    }
}

fn shown(text: &str) -> String {
    Redactor::default().text(text)
}

fn lines(difference: &Difference) -> String {
    serde_json::to_string(difference).unwrap()
}

#[test]
fn no_secret_is_shown_in_any_format_and_the_rest_is() {
    let mut wrong = Vec::new();
    for row in ROWS {
        let shown = shown(&row.with(MARK));
        for text in row.seen.iter().filter(|text| !shown.contains(**text)) {
            wrong.push(format!("{}: {text:?} is hidden:\n{shown}", row.format));
        }
        if shown.contains(MARK) {
            wrong.push(format!("{}: the secret is shown:\n{shown}", row.format));
        }
        if shown.lines().count() != row.text.lines().count() {
            wrong.push(format!("{}: it has other lines:\n{shown}", row.format));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_difference_shows_a_secret_on_either_side_or_around_it() {
    for row in ROWS {
        let text = row.with(MARK);
        let around = (format!("first: 1\n{text}last: 1\n"), format!("first: 2\n{text}last: 2\n"));
        let changed = (text.clone(), row.with("correct-horse2"));
        for (before, after) in [around, changed, (text.clone(), String::new()), (String::new(), text)] {
            let (difference, _) = difference("a.conf", before.as_bytes(), after.as_bytes(), Secrets::Hidden);
            let told = lines(&difference);
            assert!(!told.contains(MARK) && !told.contains("correct-horse"), "{}: {told}", row.format);
        }
    }
}

#[test]
fn a_secret_that_changed_is_told_to_have_changed() {
    for row in ROWS.iter().filter(|row| row.text.contains('@')) {
        let (difference, hidden) =
            difference("a.conf", row.with(MARK).as_bytes(), row.with("correct-horse2").as_bytes(), Secrets::Hidden);
        assert!(!matches!(difference, Difference::Unshown { .. }), "{}: {difference:?}", row.format);
        assert!(hidden >= 2, "{}: {difference:?}", row.format);
    }
}

#[test]
fn everything_is_shown_to_who_asks_for_it() {
    for row in ROWS.iter().filter(|row| row.text.contains('@')) {
        let (difference, hidden) = difference("a.conf", row.with(MARK).as_bytes(), b"", Secrets::Shown);
        assert!(lines(&difference).contains(MARK) && hidden == 0, "{}: {difference:?}", row.format);
    }
    let (difference, _) = difference("a.conf", b"{\"password\": [1]}", b"{\"password\": [\"x\"]}", Secrets::Shown);
    assert_eq!(
        lines(&difference),
        r#"{"form":"keys","changes":[{"path":"/password/0","before":"1","after":"\"x\""}],"more":0}"#
    );
}

#[test]
fn equal_secrets_stay_equal_and_different_ones_different() {
    let mut redactor = Redactor::default();
    let shown = ["one", "two", "one"].map(|secret| redactor.hide(secret));
    assert_eq!(shown, ["(hidden #1)", "(hidden #2)", "(hidden #1)"]);
    assert_eq!(redactor.count(), 2);
    assert_eq!(
        redactor.text("a_token = one\n\"b_token\": \"two\",\n"),
        "a_token = (hidden #1)\n\"b_token\": \"(hidden #2)\",\n"
    );
}

#[test]
fn the_value_of_a_pair_is_hidden_however_far_from_its_name_it_stands() {
    let between: String = (0..100).map(|number| format!("    \"x{number}\": 1,\n")).collect();
    let object = |first: &str, last: &str| format!("{{\n  \"a\": {{\n    {first},\n{between}    {last}\n  }}\n}}\n");
    let (name, value) = ("\"name\": \"DB_PASSWORD\"", "\"value\": \"hunter2\"");
    for text in [object(name, value), object(value, name)] {
        assert!(!shown(&text).contains(MARK), "{}", shown(&text));
    }
}

#[test]
fn what_says_nothing_is_shown() {
    for text in [
        "auth: true",
        "PasswordAuthentication no",
        "\"password\": \"\",",
        "password = ${DB_PASSWORD}",
        "token:",
        "secret = null",
    ] {
        assert_eq!(shown(text), text);
    }
}

#[test]
fn of_a_file_of_secrets_only_names_are_shown() {
    for text in [
        "hunter2\n",
        "bob * hunter2 *\n",
        "a = hunter2\nb: |\n  hunter2\n",
        "{\"a\": [\"hunter2\"]}",
        "{\"a\": \"hunter2\", }",
    ] {
        for (before, after) in [(text, ""), ("", text), (text, "{}"), ("{\"a\": 1}", text), ("a = x\n", text)] {
            let (difference, _) = difference("secrets/app.conf", before.as_bytes(), after.as_bytes(), Secrets::Hidden);
            assert!(!lines(&difference).contains(MARK), "{text}: {difference:?}");
        }
    }
    let (difference, hidden) = difference("db_password", b"level = 1\n", b"level = 2\n", Secrets::Hidden);
    assert_eq!((lines(&difference).contains("level = (hidden #1)"), hidden), (true, 2), "{difference:?}");
}

#[test]
fn an_ordinary_file_is_shown_as_it_is() {
    let text = include_str!("../../../config/fiovana.toml");
    let hidden = shown(text).lines().filter(|line| line.contains("(hidden")).count();
    assert!(hidden <= text.lines().count() / 20, "{hidden}: {}", shown(text));
    for text in [
        include_str!("../../../config/app_config.json"),
        include_str!("../../../config/security_config.json"),
        include_str!("../../../Cargo.lock"),
    ] {
        let shown = shown(text);
        let hidden: Vec<&str> = shown.lines().filter(|line| line.contains("(hidden")).collect();
        assert!(hidden.len() <= text.lines().count() / 50, "{hidden:?}");
    }
}

#[test]
fn a_setting_alone_has_no_number() {
    assert_eq!(shown_value("notify.token", "hunter2"), "(hidden)");
    assert_eq!(shown_value("notify.command", "[/bin/x, -H, X-Token: hunter2]"), "[/bin/x, -H, X-Token: (hidden)");
    assert_eq!(shown_value("backup.max_backups", "10"), "10");
}

#[test]
fn a_long_line_is_looked_at_in_part_and_the_rest_is_hidden() {
    for line in [
        "a=".repeat(1 << 19),
        "\"".repeat(1 << 20),
        "password ".repeat(1 << 17),
        "[".repeat(1 << 20),
        "é".repeat(1 << 19),
    ] {
        let shown = shown(&format!("{line}{MARK}"));
        assert!(!shown.contains(MARK) && shown.len() < 64 << 10, "{}", &line[..8]);
    }
}

/// A line of a file without a secret.
fn filler() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("# a comment".to_owned()),
        Just("[section]".to_owned()),
        Just("---".to_owned()),
        "[a-z]{1,8} = [0-9]{1,4}",
        "[a-z]{1,8}: \"[a-z]{0,8}\"",
        "  - [a-z]{1,8}",
        "<[a-z]{2,6}>[a-z]{1,6}",
        "[\\[\\]{}\"'()<>:=,\\\\| a-z-]{0,20}",
    ]
}

/// A line, or several, of a file that may have other secrets, too.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![4 => filler(), 1 => (0..ROWS.len()).prop_map(|at| ROWS[at].with(MARK))]
}

proptest! {
    #[test]
    fn a_secret_is_hidden_whatever_stands_around_it(
        at in 0..ROWS.len(),
        before in prop::collection::vec(piece(), 0..12),
        after in prop::collection::vec(piece(), 0..12),
        indent in 0..8usize,
        windows in any::<bool>(),
    ) {
        let indented: String = ROWS[at].with(MARK).lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect();
        let text = format!("{}\n{indented}{}\n", before.join("\n"), after.join("\n"));
        let text = if windows { text.replace('\n', "\r\n") } else { text };
        let shown = shown(&text);
        prop_assert!(!shown.contains(MARK), "{}:\n{text}\nis shown as\n{shown}", ROWS[at].format);
    }

    #[test]
    fn any_text_is_shown_in_as_many_lines(text in "\\PC*|[\\[\\]{}\"'()<>:=,\\\\|\n a-z-]{0,200}") {
        prop_assert_eq!(shown(&text).lines().count(), text.lines().count());
    }
}
