//! The JSON Schema of the file, for editors and for checks in a pipeline.

use serde_json::{Map, Value, json};

use super::settings::{Fallback, KEYS, Key};

/// Draft 2020-12.
pub(crate) fn schema() -> Value {
    let mut top = Map::new();
    for key in KEYS {
        match key.path.split_once('.') {
            None => insert(&mut top, key.path, key),
            Some((section, name)) => {
                let section = top.entry(section).or_insert_with(|| object(Map::new()));
                let properties = section["properties"].as_object_mut();
                insert(properties.expect("a section has properties"), name, key);
            }
        }
    }
    let mut schema = object(top);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("parlance");
    schema
}

fn object(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn insert(properties: &mut Map<String, Value>, name: &str, key: &Key) {
    let mut value = (key.schema)();
    value["description"] = json!(description(key));
    properties.insert(name.to_owned(), value);
    if key.secret {
        let file = json!({
            "type": "string",
            "minLength": 1,
            "description": format!("A file that holds `{}`.", key.path),
        });
        properties.insert(format!("{name}_file"), file);
    }
}

fn description(key: &Key) -> String {
    let help = key.help.join(" ");
    match key.fallback {
        Fallback::Value("") => format!("{help} Default: none."),
        Fallback::Value(text) => format!("{help} Default: {text}."),
        Fallback::Unset { meaning, .. } => format!("{help} Not set: {meaning}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template;

    fn is_valid(file: &str) -> bool {
        let file: Value = toml::from_str(file).unwrap();
        jsonschema::is_valid(&schema(), &file)
    }

    #[test]
    fn the_schema_takes_the_template_with_every_setting_in_it_but_example_secrets() {
        let enabled = template().replace("\n#", "\n").replace("\n ", "\n# ");
        let enabled = enabled.replace("\nhmac_secret", "\n# hmac_secret");
        assert!(enabled.contains("\nlisten = "));
        assert!(is_valid(&enabled));
    }

    #[test]
    fn the_schema_refuses_unknown_keys_and_wrong_types() {
        assert!(is_valid("[limits]\nconnections = 5\n"));
        assert!(!is_valid("[limits]\nconections = 5\n"));
        assert!(!is_valid("[limits]\nconnections = \"5\"\n"));
        assert!(!is_valid("[drain]\nwindow = 30\n"));
        assert!(!is_valid("listem = \"127.0.0.1:1\"\n"));
    }
}
