package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// writeSBOM writes what the binary is made of in CycloneDX's JSON. syft and
// cyclonedx-gomod put a random number or the current time into theirs, so this uses
// CycloneDX's library alone. The serial number is taken from the binary's sum: it is
// the binary's alone, and the same each time.
func writeSBOM(o options, all []*component) (err error) {
	content, err := os.ReadFile(o.binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.Nil, sum[:]).URN()

	main := describe(all[0])
	main.Type = cyclonedx.ComponentTypeApplication
	main.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: o.date,
		Component: &main,
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{
			{Type: cyclonedx.ComponentTypeApplication, Name: "scripts/release/inventory", Version: o.version},
		}},
	}
	parts := make([]cyclonedx.Component, 0, len(all))
	for _, c := range all[1:] {
		parts = append(parts, describe(c))
	}
	bom.Components = &parts

	file, err := os.Create(o.binary + ".cdx.json")
	if err != nil {
		return err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	return cyclonedx.NewBOMEncoder(file, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

func describe(c *component) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", c.path, url.QueryEscape(c.version)) // the + of +incompatible
	ids := make(cyclonedx.Licenses, 0, len(c.licences))
	for _, l := range c.licences {
		ids = append(ids, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: l}})
	}
	return cyclonedx.Component{
		BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary,
		Name: c.path, Version: c.version, PackageURL: purl, Licenses: &ids,
	}
}
