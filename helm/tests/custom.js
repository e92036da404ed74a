// Judges custom resources, which come as JSON on standard input: an array of what is wrong for each.
//
// The validators accept fields that they do not know. But they read every field that they know, so one that nobody reads beside others that
// are read is none of the schema's.
import { readFileSync } from "node:fs";

const PACKAGES = {
  "monitoring.coreos.com": "prometheus-operator",
  "keda.sh": "keda",
  "gateway.networking.k8s.io": "gateway-api",
  "external-secrets.io": "external-secrets",
  "postgresql.cnpg.io": "cloudnative-pg",
};

async function judge(object) {
  const [group, version] = object.apiVersion.split("/");
  const module = await import(`@kubernetes-models/${PACKAGES[group]}/${group}/${version}/${object.kind}`);
  const read = new Map();
  const wrong = [];
  try {
    module[object.kind].prototype.validate.call(watched(object, read));
  } catch (error) {
    wrong.push(error.message);
  }
  return [...wrong, ...unread(object, read, object.kind)];
}

/** The same object, that notes which of its fields are read. */
function watched(value, read) {
  if (value === null || typeof value !== "object") return value;
  const fields = new Set();
  read.set(value, fields);
  const copy = Array.isArray(value) ? value.map((item) => watched(item, read)) : {};
  if (!Array.isArray(value)) for (const [key, inner] of Object.entries(value)) copy[key] = watched(inner, read);
  return new Proxy(copy, {
    get(target, key) {
      fields.add(key);
      return target[key];
    },
    // Whoever goes through all fields knows them all: a map.
    ownKeys(target) {
      Object.keys(target).forEach((key) => fields.add(key));
      return Reflect.ownKeys(target);
    },
  });
}

function unread(value, read, path) {
  if (value === null || typeof value !== "object") return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => unread(item, read, `${path}[${index}]`));
  const fields = read.get(value);
  const keys = Object.keys(value);
  // Something of which nothing is read may be anything.
  if (!keys.some((key) => fields.has(key))) return [];
  return keys.flatMap((key) => (fields.has(key) ? unread(value[key], read, `${path}.${key}`) : [`${path}.${key} is no field`]));
}

const objects = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await Promise.all(objects.map(judge))));
