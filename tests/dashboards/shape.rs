//! The shape that Grafana publishes for a dashboard: `kinds/dashboard/dashboard_kind.cue` in its repository, and the JSON
//! schema in grafana-foundation-sdk that is made of it. Here is what of it concerns this dashboard: which members each
//! object must have, which it may have, and which words stand where only some may.
//!
//! Hazard: a member that is misspelt is ignored without a word, and a panel is quietly without its unit.

use serde_json::Value;

/// The members of an object: those that must be there, and those that may.
struct Shape(&'static [&'static str], &'static [&'static str]);

const DASHBOARD: Shape = Shape(
    &["annotations", "panels", "schemaVersion", "templating", "title", "uid"],
    &[
        "id",
        "description",
        "revision",
        "gnetId",
        "tags",
        "timezone",
        "editable",
        "graphTooltip",
        "time",
        "timepicker",
        "fiscalYearStartMonth",
        "liveNow",
        "weekStart",
        "refresh",
        "version",
        "links",
        "snapshot",
    ],
);
const PANEL: Shape = Shape(
    &["type", "id", "title", "gridPos", "datasource", "targets", "fieldConfig", "options"],
    &[
        "pluginVersion",
        "tags",
        "description",
        "transparent",
        "links",
        "repeat",
        "repeatDirection",
        "maxPerRow",
        "maxDataPoints",
        "transformations",
        "interval",
        "timeFrom",
        "timeShift",
        "hideTimeOverride",
        "libraryPanel",
        "cacheTimeout",
        "queryCachingTTL",
    ],
);
const ROW: Shape = Shape(&["type", "collapsed", "id", "panels"], &["title", "datasource", "gridPos", "repeat"]);
const GRID: Shape = Shape(&["h", "w", "x", "y"], &["static"]);
const SOURCE: Shape = Shape(&[], &["type", "uid"]);
const FIELD_CONFIG: Shape = Shape(&["defaults", "overrides"], &[]);
const FIELD: Shape = Shape(
    &[],
    &[
        "displayName",
        "displayNameFromDS",
        "description",
        "path",
        "writeable",
        "filterable",
        "unit",
        "decimals",
        "min",
        "max",
        "mappings",
        "thresholds",
        "color",
        "links",
        "actions",
        "noValue",
        "custom",
    ],
);
const THRESHOLDS: Shape = Shape(&["mode", "steps"], &[]);
const STEP: Shape = Shape(&["color", "value"], &[]);
const MAPPING: Shape = Shape(&["type", "options"], &[]);
const MAPPED: Shape = Shape(&[], &["text", "color", "icon", "index"]);
const OVERRIDE: Shape = Shape(&["matcher", "properties"], &[]);
const IDENTIFIED: Shape = Shape(&["id"], &["options", "value"]);
const TRANSFORMATION: Shape = Shape(&["id", "options"], &["disabled", "filter", "topic"]);
const OPTION: Shape = Shape(&["text", "value"], &["selected"]);

const VARIABLES: [&str; 8] = ["query", "adhoc", "constant", "datasource", "interval", "textbox", "custom", "system"];

/// What of a dashboard is not as it should be: where, and what.
pub fn faults(dashboard: &Value) -> Vec<String> {
    let mut faults = Faults::default();
    faults.shape("dashboard", dashboard, &DASHBOARD);
    faults.one_of("graphTooltip", &dashboard["graphTooltip"], &[0.into(), 1.into(), 2.into()]);
    for annotation in list(&dashboard["annotations"]["list"]) {
        for member in ["name", "datasource", "enable", "iconColor"] {
            faults.check(annotation.get(member).is_some(), "annotation", format!("no {member}"));
        }
        faults.shape("annotation's datasource", &annotation["datasource"], &SOURCE);
    }
    list(&dashboard["templating"]["list"]).iter().for_each(|variable| faults.variable(variable));
    list(&dashboard["panels"]).iter().for_each(|panel| faults.panel(panel));
    faults.0
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, right: bool, place: &str, fault: String) {
        if !right {
            self.0.push(format!("{place}: {fault}"));
        }
    }

    fn shape(&mut self, place: &str, value: &Value, Shape(must, may): &Shape) {
        let Some(object) = value.as_object() else { return self.0.push(format!("{place}: no object: {value}")) };
        must.iter().for_each(|member| self.check(object.contains_key(*member), place, format!("no {member}")));
        let known = |member: &str| must.contains(&member) || may.contains(&member);
        object.keys().for_each(|member| self.check(known(member), place, format!("{member} is unknown")));
    }

    fn one_of(&mut self, place: &str, value: &Value, allowed: &[Value]) {
        self.check(allowed.contains(value), place, format!("{value} is none of {allowed:?}"));
    }

    fn variable(&mut self, variable: &Value) {
        let place = format!("variable {}", variable["name"]);
        self.check(variable["name"].is_string(), &place, "no name".into());
        self.one_of(&place, &variable["type"], &VARIABLES.map(Value::from));
        if let Some(current) = variable.get("current") {
            self.shape(&format!("{place}, current"), current, &OPTION);
        }
        for (member, most) in [("refresh", 2), ("hide", 2), ("sort", 8)] {
            if let Some(value) = variable.get(member) {
                self.check(value.as_u64().is_some_and(|value| value <= most), &place, format!("{member} is {value}"));
            }
        }
    }

    fn panel(&mut self, panel: &Value) {
        let place = format!("panel {}", panel["title"]);
        if panel["type"] == "row" {
            self.shape(&place, panel, &ROW);
            return list(&panel["panels"]).iter().for_each(|panel| self.panel(panel));
        }
        self.shape(&place, panel, &PANEL);
        self.shape(&place, &panel["gridPos"], &GRID);
        self.shape(&place, &panel["datasource"], &SOURCE);
        self.check(panel["options"].is_object(), &place, "options are no object".into());
        list(&panel["transformations"]).iter().for_each(|each| self.shape(&place, each, &TRANSFORMATION));
        self.shape(&place, &panel["fieldConfig"], &FIELD_CONFIG);
        let defaults = &panel["fieldConfig"]["defaults"];
        self.shape(&place, defaults, &FIELD);
        self.thresholds(&place, &defaults["thresholds"]);
        for mapping in list(&defaults["mappings"]) {
            self.shape(&place, mapping, &MAPPING);
            self.one_of(&place, &mapping["type"], &["value", "range", "regex", "special"].map(Value::from));
            let results = mapping["options"].as_object().filter(|_| mapping["type"] == "value");
            results.into_iter().flatten().for_each(|(_, result)| self.shape(&place, result, &MAPPED));
        }
        for each in list(&panel["fieldConfig"]["overrides"]) {
            self.shape(&place, each, &OVERRIDE);
            self.shape(&place, &each["matcher"], &IDENTIFIED);
            for property in list(&each["properties"]) {
                self.shape(&place, property, &IDENTIFIED);
                if property["id"] == "thresholds" {
                    self.thresholds(&place, &property["value"]);
                }
            }
        }
    }

    /// The first step has no value, which stands for all that is less than any.
    fn thresholds(&mut self, place: &str, thresholds: &Value) {
        self.shape(place, thresholds, &THRESHOLDS);
        self.one_of(place, &thresholds["mode"], &["absolute".into(), "percentage".into()]);
        let steps = list(&thresholds["steps"]);
        steps.iter().for_each(|step| self.shape(place, step, &STEP));
        let values: Vec<Option<f64>> = steps.iter().map(|step| step["value"].as_f64()).collect();
        let first = steps.first().is_some_and(|step| step["value"].is_null());
        self.check(first && values.is_sorted(), place, format!("thresholds are not in order: {values:?}"));
    }
}
